"""Renders the images as Dockerfiles, for builds with BuildKit alone.

Every layer is a stage of its own, so a change to one leaves the others cached. The stages use the
same programs, cache volume names, timestamps and probes as the pipeline, with one difference: the
probes of layers run in the final image, because each stage would hold copies of gigabytes.

Invariant: the text depends on the definition and the locks alone, never on a network or a clock.
"""

import fnmatch
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from layerline.pipeline import bytecode, lock, probe
from layerline.pipeline.base_system import PATH, PREFIX, BaseSystem
from layerline.pipeline.bytecode import COMPILED, LAYER_FILES
from layerline.pipeline.definition import Definition, Image
from layerline.pipeline.environment import (
    PYTHON,
    USER,
    UV,
    UV_CACHE,
    WHEELS_ONLY,
    program,
)
from layerline.pipeline.image_config import APP, EPOCH
from layerline.pipeline.layer import Layer
from layerline.pipeline.lock import LockError, Pin
from layerline.pipeline.partition import Partition, partition
from layerline.pipeline.probe import Probe
from layerline.pipeline.source import beginnings

PLACE = "dockerfiles"
PROGRAMS = ("install.py", "slice.py", "system.sh")
_BUILDERS = "/mnt/builders.txt"
_TOOLS = UV.removesuffix("/bin/uv")
_CA = "/etc/ssl/certs/ca-certificates.crt"
_README = """\
# Dockerfiles

Generated from `layerline.toml` and `locks/`; do not edit. The first command also writes the
programs and probes that they use:

    layerline call dockerfiles export --path=dockerfiles
    DOCKER_BUILDKIT=1 docker build -f dockerfiles/IMAGE.Dockerfile -t IMAGE .

They use the same cache volumes, timestamps and probes as the pipeline. These secrets are optional
(`--secret id=NAME,src=FILE`) and are not stored in any layer: `ca` (certificates to trust),
`pip.conf` and `uv.toml` (package indexes, with their credentials).

To use a directory of wheels, serve it over HTTP and build with `--network=host` and a `uv.toml`
that names it:

    python3 -m http.server 8765 --bind 127.0.0.1 --directory wheels
    find-links = ["http://127.0.0.1:8765/"]

Unlike in the pipeline, the probes of layers run in the final image, the image has no label with
their evidence, and its configuration has the time of the build.
"""


def render(
    definition: Definition, locks: Mapping[str, str], *, ignored: Sequence[str]
) -> dict[str, str]:
    """Render the files of `dockerfiles/`, without the user's own probes.

    `locks` has the text of each target's lock; `ignored` are patterns to exclude from the source.
    """
    files = {"README.md": _README}
    files |= {f"programs/{name}": program(name) for name in (*PROGRAMS, bytecode.PROGRAM)}
    files["probes/run.py"] = probe.own_program("run")
    for target in sorted(locks):
        if definition.target(target).lock:
            message = (
                f"no Dockerfiles for target {target}: they need a lock of the pipeline's own, "
                f"without lock = {definition.target(target).lock!r}"
            )
            raise LockError(message)
        parts = partition(locks[target], definition, target)
        base = BaseSystem.of(locks[target], definition, target)
        for name, image in sorted(definition.images_of(target).items()):
            _require_index(name, image, parts)
            image_file = ImageDockerfile(
                name=name, image=image, definition=definition, parts=parts, base=base
            )
            files |= {f"programs/{path}": text for path, text in image_file.base_programs()}
            files[f"{name}.Dockerfile"] = "\n".join(image_file.lines()) + "\n"
            files[f"{name}.Dockerfile.dockerignore"] = _dockerignore(image, ignored)
            files |= image_file.probe_requests()
            files |= image_file.build_requirements()
            for each in image_file.probes():
                if not each.of_source:
                    files[f"probes/{each.name}.py"] = probe.own_program(each.program)
    return files


def _require_index(name: str, image: Image, parts: Partition) -> None:
    """Raise a `LockError` for what a Dockerfile cannot install as the pipeline does."""
    alien = [pin.name for layer in parts.of(image.groups) for pin in layer.pins if pin.url]
    reason = f"{', '.join(alien)} {'has' if len(alien) == 1 else 'have'} a URL" if alien else ""
    if several := [layer for layer in parts.of(image.groups) if len(_sets(layer)) > 1]:
        names = ", ".join(name for layer in several for name in layer.from_source)
        reason = f"{names} are built with different versions of one package"
    if image.projects:
        reason = "its projects are built as wheels without a network"
    if reason:
        message = (
            f"no Dockerfile for image {name}: {reason}, and the pipeline alone builds that; use "
            f"'layerline call build --image={name}'"
        )
        raise LockError(message)


def _sets(layer: Layer) -> set[tuple[Pin, ...]]:
    """The different sets of packages that build those of a layer: one installation has one."""
    return {them for them in layer.builders.values() if them}


def own_probes(definition: Definition) -> tuple[str, ...]:
    """The paths of the user's own probes."""
    found = {name for group in definition.groups.values() for name in group.probes}
    return tuple(sorted(name for name in found if Probe(program=name).of_source))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDockerfile:
    """One image's Dockerfile."""

    name: str
    image: Image
    definition: Definition
    parts: Partition
    base: BaseSystem

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of the image, in order."""
        return self.parts.of(self.image.groups)

    def probes(self) -> Iterator[Probe]:
        """The probes of the image and of its layers."""
        for layer in self.layers:
            yield from probe.of_layer(layer, self.definition, self.image.target)
        yield from probe.of_image(self.image, self.definition)

    def probe_requests(self) -> dict[str, str]:
        """The input of `probes/run.py`, as files: one for each layer and one for the image."""
        found = {
            f"requests/{self.image.target}/{layer.name}.json": probe.request(
                probe.of_layer(layer, self.definition, self.image.target),
                subject=layer.name,
                packages=[pin.name for pin in layer.pins],
            )
            for layer in self.layers
        }
        of_image = probe.of_image(self.image, self.definition)
        found[f"requests/{self.name}.json"] = probe.request(
            of_image, subject=probe.subject_of(self.name)
        )
        return {path: json.dumps(content, indent=1) + "\n" for path, content in found.items()}

    def build_requirements(self) -> dict[str, str]:
        """What builds the packages of each layer that have no wheel, as files."""
        return {
            _builders_file(self.image.target, layer): layer.build_requirements
            for layer in self.layers
            if layer.from_source
        }

    def lines(self) -> Iterator[str]:
        """Yield the Dockerfile, stage by stage."""
        yield f"# The image {self.name}, generated from layerline.toml; do not edit."
        yield from self._system("bare", (), USER)
        packages = self._packages
        if packages or self.image.user != USER:
            yield from self._system("system", packages, self.image.user)
        else:
            yield from ("", "FROM bare AS system")
        yield from self._requirements()
        yield from self._builder()
        for layer in self.layers:
            yield from self._layer(layer)
            if self.image.bytecode:
                yield from self._bytecode(layer)
        yield from self._source()
        yield from self._final_stage()

    def base_programs(self) -> Iterator[tuple[str, str]]:
        """Yield the names and texts of the programs that install the base's packages."""
        yield from map(self.base.script, ((), self._packages))

    @property
    def _packages(self) -> tuple[str, ...]:
        """The system packages of the image's groups."""
        groups = [self.definition.groups[name] for name in self.image.groups]
        return tuple(name for group in groups for name in group.packages)

    def _system(self, stage: str, packages: Sequence[str], user: str) -> Iterator[str]:
        wanted = sorted({*self.definition.base.packages, *packages})
        program, _ = self.base.script(packages)
        cache = f"id=apt-cache-{self.image.target}-v2,target=/var/cache/apt,sharing=locked"
        yield from ("", f"FROM {self.base.image} AS {stage}")
        yield from run_instruction(
            [f"type=cache,{cache}", _bind_mount(f"programs/{program}", "/mnt/system.sh")],
            f"RUN_USER={user} PREFIX={PREFIX} sh /mnt/system.sh {' '.join(wanted)}",
        )
        yield f"ENV PATH={PATH} PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1"

    def _requirements(self) -> Iterator[str]:
        """Split the lock by layer, so a changed line invalidates one layer only."""
        cut = {layer.name: [pin.name for pin in layer.pins] for layer in self.layers}
        cut["installer"] = sorted(lock.parse(self.parts.installer))
        commands = [
            f"python3 /mnt/slice.py /mnt/lock.txt {' '.join(names)} > /requirements/{name}.txt"
            for name, names in cut.items()
        ]
        yield from ("", "FROM bare AS requirements")
        yield from run_instruction(
            [
                f"type=bind,source={lock.path(self.image.target)},target=/mnt/lock.txt",
                _bind_mount("programs/slice.py", "/mnt/slice.py"),
            ],
            " \\\n && ".join(["mkdir /requirements", *commands]),
        )

    def _builder(self) -> Iterator[str]:
        cache = self._cache("resolve", "/root/.cache/pip")
        yield from ("", "FROM bare AS builder", f"ENV PIP_CERT={_CA} SSL_CERT_FILE={_CA}")
        yield from run_instruction(
            [cache, _requirements_mount("installer"), *_secrets("pip.conf", "/etc/pip.conf")],
            f"python3 -m venv {_TOOLS} \\\n && {_TOOLS}/bin/pip install --quiet --no-compile "
            f"{' '.join(WHEELS_ONLY)} --requirement=/mnt/requirements.txt",
        )

    def _layer(self, layer: Layer) -> Iterator[str]:
        flags = " ".join((*WHEELS_ONLY, *_build_flags(layer)))
        yield from ("", f"FROM builder AS {_stage(layer)}")
        yield from run_instruction(
            [
                self._cache(layer.name, UV_CACHE),
                _requirements_mount(layer.name),
                *(
                    [_bind_mount(_builders_file(self.image.target, layer), _BUILDERS)]
                    if layer.from_source
                    else []
                ),
                _bind_mount("programs/install.py", "/mnt/install.py"),
                *_secrets("uv.toml", "/etc/uv/uv.toml"),
            ],
            f"{self._pages(layer)}python3 /mnt/install.py {PREFIX} {UV} pip install "
            f"--python={PYTHON} --cache-dir={UV_CACHE} --link-mode=copy {flags} "
            "--requirements=/mnt/requirements.txt",
        )

    def _bytecode(self, layer: Layer) -> Iterator[str]:
        yield from ("", f"FROM bare AS {_stage(layer)}-bytecode")
        yield from run_instruction(
            [
                f"type=bind,from={_stage(layer)},source={PREFIX},target={LAYER_FILES}",
                _bind_mount(f"programs/{bytecode.PROGRAM}", f"/mnt/{bytecode.PROGRAM}"),
            ],
            f"{PYTHON} -I -S /mnt/{bytecode.PROGRAM} {LAYER_FILES} {COMPILED} {PREFIX}",
        )

    def _copies(self) -> Iterator[str]:
        for layer in self.layers:
            yield f"COPY --from={_stage(layer)} {PREFIX} {PREFIX}"
            if self.image.bytecode:
                yield f"COPY --from={_stage(layer)}-bytecode {COMPILED} {PREFIX}"

    def _pages(self, layer: Layer) -> str:
        """The variable with the pages of packages that have an index of their own."""
        tools = [pin.name for them in layer.builders.values() for pin in them]
        names = dict.fromkeys([*(pin.name for pin in layer.pins), *tools])
        pages = self.definition.target(self.image.target).pages(names)
        return f"INDEX_PAGES='{' '.join(pages)}' " if pages else ""

    def _source(self) -> Iterator[str]:
        """The source and the image's empty directories, with one timestamp."""
        patterns = self.image.source
        locked = lock.path(self.image.target)
        alien = [PLACE]
        if not any(fnmatch.fnmatchcase(locked, pattern) for pattern in patterns):
            alien.append("locks")
        commands = [f"rm -rf {' '.join(alien)}"]
        if self.image.directories:
            commands.append(f"mkdir -p {' '.join(sorted(self.image.directories))}")
        commands.append(f"find . -exec touch --no-dereference --date=@{EPOCH} {{}} +")
        yield from ("", "FROM bare AS source", f"WORKDIR {APP}", "COPY . .")
        yield "RUN " + " \\\n && ".join(commands)

    def _final_stage(self) -> Iterator[str]:
        yield from ("", "FROM system")
        yield from self._copies()
        yield f"COPY --from=source --chown={self.image.user}:{self.image.user} {APP} {APP}"
        requests = [f"{self.image.target}/{layer.name}" for layer in self.layers]
        environ = " ".join(["HOME=/tmp", *probe.environ(compiled=self.image.bytecode)])
        yield from run_instruction(
            [
                _bind_mount("probes", "/mnt/probes"),
                _bind_mount("requests", "/mnt/requests"),
                "type=tmpfs,target=/tmp",
            ],
            f"set -eu; cd /tmp; for subject in {' '.join([*requests, self.name])}; do \\\n"
            f"      env {environ} {PYTHON} /mnt/probes/run.py "
            "< /mnt/requests/$subject.json; \\\n    done",
        )
        yield from self._configuration()

    def _configuration(self) -> Iterator[str]:
        """Yield the instructions that set the image's configuration and labels."""
        for key, value in sorted(self.image.env.items()):
            yield f"ENV {key}={_quote(value)}"
        yield from (f"EXPOSE {port}" for port in sorted(self.image.ports))
        if self.image.healthcheck:
            yield f"HEALTHCHECK CMD {_exec_form(self.image.healthcheck)}"
        yield f"WORKDIR {APP}"
        yield f"USER {self.image.user}"
        yield f"ENTRYPOINT {_exec_form(self.image.entrypoint)}"
        yield f"CMD {_exec_form(self.image.command)}"
        yield f"LABEL org.opencontainers.image.title={_quote(self.name)}"
        yield f"LABEL org.opencontainers.image.base.name={_quote(self.definition.base.image)}"
        yield f"LABEL layerline.target={_quote(self.image.target)}"

    def _cache(self, name: str, target: str) -> str:
        return f"type=cache,id=uv-{name}-{self.image.target}-v2,target={target}"


def run_instruction(mounts: Sequence[str], command: str) -> Iterator[str]:
    """Yield a RUN instruction with each mount on its own line."""
    parts = ["RUN", *(f"--mount={mount}" for mount in mounts)]
    yield " \\\n    ".join([" ".join(parts[:2]), *parts[2:], command])


def _bind_mount(path: str, target: str) -> str:
    return f"type=bind,source={PLACE}/{path},target={target}"


def _requirements_mount(name: str, target: str = "/mnt/requirements.txt") -> str:
    return f"type=bind,from=requirements,source=/requirements/{name}.txt,target={target}"


def _secrets(name: str, target: str) -> tuple[str, str]:
    return f"type=secret,id=ca,target={_CA}", f"type=secret,id={name},target={target}"


def _builders_file(target: str, layer: Layer) -> str:
    return f"requests/{target}/{layer.name}.builders.txt"


def _stage(layer: Layer) -> str:
    return f"layer-{layer.name.replace('+', '-')}"


def _build_flags(layer: Layer) -> tuple[str, ...]:
    """The installer's flags to build those packages of a layer that have no wheel."""
    if not layer.from_source:
        return ()
    sources = (f"--no-binary={name}" for name in layer.from_source)
    return (*sources, f"--build-constraints={_BUILDERS}", "--require-build-hashes")


def _exec_form(argv: Sequence[str]) -> str:
    return json.dumps(list(argv))


def _quote(value: str) -> str:
    for each in ("\\", '"', "$"):
        value = value.replace(each, f"\\{each}")
    return f'"{value}"'


def _dockerignore(image: Image, ignored: Sequence[str]) -> str:
    """The build context: the image's source, its lock, and what the Dockerfile uses."""
    chosen = [_inverted(pattern) for pattern in image.source]
    named = [_inverted(pattern) for pattern in image.source if _starts_ignored(pattern, ignored)]
    lines = ["*", *chosen, *ignored, *named]
    return "\n".join([*lines, f"!{lock.path(image.target)}", f"!{PLACE}"]) + "\n"


def _inverted(pattern: str) -> str:
    return pattern[1:] if pattern.startswith("!") else f"!{pattern}"


def _starts_ignored(pattern: str, ignored: Sequence[str]) -> bool:
    """Whether a pattern names, before any wildcard, what an ignore file leaves out."""
    return any(
        fnmatch.fnmatchcase(path, each) or fnmatch.fnmatchcase(f"/{path}", each.removeprefix("**"))
        for path in beginnings(pattern)
        for each in ignored
    )
