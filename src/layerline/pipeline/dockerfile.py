"""The images as plain Dockerfiles, for whoever builds them with nothing but BuildKit.

Every layer is a stage of its own, so that a changed one leaves the others cached. The stages use
the programs, the names of cache volumes, the times and the probes of the pipeline; what differs is
that the probes of layers run in the finished image, as each stage would hold copies of gigabytes.

Invariant: the text depends on the definition and the locks alone, never on a network or a clock.
"""

import fnmatch
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from layerline.pipeline import lock, probe
from layerline.pipeline.definition import Definition, Image
from layerline.pipeline.environment import (
    BUILDERS,
    PATH,
    PREFIX,
    PYTHON,
    UV,
    UV_CACHE,
    WHEELS_ONLY,
    building,
    program,
)
from layerline.pipeline.image import APP, EPOCH
from layerline.pipeline.layer import Layer, Partition, partition
from layerline.pipeline.probe import Probe

PLACE = "dockerfiles"
PROGRAMS = ("install.py", "slice.py", "system.sh")
_TOOLS = UV.removesuffix("/bin/uv")
_CA = "/etc/ssl/certs/ca-certificates.crt"
_README = """\
# Dockerfiles

Rendered from `layerline.toml` and `locks/`; do not edit them here. The first command writes the
programs and probes that they use next to them:

    layerline call dockerfiles export --path=dockerfiles
    DOCKER_BUILDKIT=1 docker build -f dockerfiles/IMAGE.Dockerfile -t IMAGE .

They use the same cache volumes, times and probes as the pipeline. These secrets are used where
they are given (`--secret id=NAME,src=FILE`), and reach no layer: `ca` (certificates to trust),
`pip.conf` and `uv.toml` (package indexes, with their credentials).

A directory of wheels is read over HTTP, with `--network=host` and a `uv.toml` of one line:

    python3 -m http.server 8765 --bind 127.0.0.1 --directory wheels
    find-links = ["http://127.0.0.1:8765/"]

Other than in the pipeline, the probes of layers run in the finished image, there is no label with
their evidence, and the time of the build stands in the image's configuration.
"""


def rendered(
    definition: Definition, locks: Mapping[str, str], *, ignored: Sequence[str]
) -> dict[str, str]:
    """The files below `dockerfiles`, without the user's own probes.

    `locks` has the text of each target's lock; `ignored` are patterns of what is no source.
    """
    files = {"README.md": _README}
    files |= {f"programs/{name}": program(name) for name in PROGRAMS}
    files["probes/run.py"] = probe.own_program("run")
    for target in sorted(locks):
        parts = partition(locks[target], definition, target)
        for name, image in sorted(definition.images_of(target).items()):
            recipe = Recipe(name=name, image=image, definition=definition, parts=parts)
            files[f"{name}.Dockerfile"] = "\n".join(recipe.lines()) + "\n"
            files[f"{name}.Dockerfile.dockerignore"] = _context(image, ignored)
            files |= recipe.questions()
            for each in recipe.probes():
                if not each.of_source:
                    files[f"probes/{each.name}.py"] = probe.own_program(each.program)
    return files


def of_source(definition: Definition) -> tuple[str, ...]:
    """The paths of the user's own probes."""
    found = {name for group in definition.groups.values() for name in group.probes}
    return tuple(sorted(name for name in found if Probe(program=name).of_source))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One image's Dockerfile."""

    name: str
    image: Image
    definition: Definition
    parts: Partition

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of the image, in order."""
        return self.parts.of(self.image.groups)

    def probes(self) -> Iterator[Probe]:
        """The probes of the image and of its layers."""
        for layer in self.layers:
            yield from probe.of_layer(layer, self.definition, self.image.target)
        yield from probe.of_image(self.image, self.definition)

    def questions(self) -> dict[str, str]:
        """What the probes are asked, as files: one for each layer and one for the image."""
        found = {
            f"asked/{self.image.target}/{layer.name}.json": probe.question(
                probe.of_layer(layer, self.definition, self.image.target),
                subject=layer.name,
                packages=[pin.name for pin in layer.pins],
            )
            for layer in self.layers
        }
        of_image = probe.of_image(self.image, self.definition)
        found[f"asked/{self.name}.json"] = probe.question(
            of_image, subject=probe.subject_of(self.name)
        )
        return {path: json.dumps(asked, indent=1) + "\n" for path, asked in found.items()}

    def lines(self) -> Iterator[str]:
        """The whole text, stage by stage."""
        yield f"# The image {self.name}, made from layerline.toml: do not edit it here."
        yield from self._system("bare", self.definition.base.image, (), "app")
        packages = [
            name for group in self.image.groups for name in self.definition.groups[group].packages
        ]
        if packages or self.image.user != "app":
            base = self.definition.base.image
            yield from self._system("system", base, packages, self.image.user)
        else:
            yield from ("", "FROM bare AS system")
        yield from self._requirements()
        yield from self._builder()
        for layer in self.layers:
            yield from self._layer(layer)
        yield from self._source()
        yield from self._whole()

    def _system(self, stage: str, base: str, packages: Sequence[str], user: str) -> Iterator[str]:
        wanted = sorted({*self.definition.base.packages, *packages})
        cache = f"id=apt-cache-{self.image.target}-v2,target=/var/cache/apt,sharing=locked"
        yield from ("", f"FROM {base} AS {stage}")
        yield from run(
            [f"type=cache,{cache}", _bound("programs/system.sh", "/mnt/system.sh")],
            f"RUN_USER={user} PREFIX={PREFIX} sh /mnt/system.sh {' '.join(wanted)}",
        )
        yield f"ENV PATH={PATH} PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1"

    def _requirements(self) -> Iterator[str]:
        """The lock cut into the layers, so that a changed line changes one of them."""
        cut = {layer.name: [pin.name for pin in layer.pins] for layer in self.layers}
        cut |= {
            f"{layer.name}.builders": [pin.name for pin in layer.builders]
            for layer in self.layers
            if layer.from_source
        }
        cut["installer"] = sorted(lock.parse(self.parts.installer))
        commands = [
            f"python3 /mnt/slice.py /mnt/lock.txt {' '.join(names)} > /requirements/{name}.txt"
            for name, names in cut.items()
        ]
        yield from ("", "FROM bare AS requirements")
        yield from run(
            [
                f"type=bind,source={lock.path(self.image.target)},target=/mnt/lock.txt",
                _bound("programs/slice.py", "/mnt/slice.py"),
            ],
            " \\\n && ".join(["mkdir /requirements", *commands]),
        )

    def _builder(self) -> Iterator[str]:
        cache = self._cache("resolve", "/root/.cache/pip")
        yield from ("", "FROM bare AS builder", f"ENV PIP_CERT={_CA} SSL_CERT_FILE={_CA}")
        yield from run(
            [cache, _cut("installer"), *_secrets("pip.conf", "/etc/pip.conf")],
            f"python3 -m venv {_TOOLS} \\\n && {_TOOLS}/bin/pip install --quiet --no-compile "
            f"{' '.join(WHEELS_ONLY)} --requirement=/mnt/requirements.txt",
        )

    def _layer(self, layer: Layer) -> Iterator[str]:
        yield from ("", f"FROM builder AS {_stage(layer)}")
        yield from run(
            [
                self._cache(layer.name, UV_CACHE),
                _cut(layer.name),
                *([_cut(f"{layer.name}.builders", BUILDERS)] if layer.from_source else []),
                _bound("programs/install.py", "/mnt/install.py"),
                *_secrets("uv.toml", "/etc/uv/uv.toml"),
            ],
            f"python3 /mnt/install.py {PREFIX} {UV} pip install --python={PYTHON} "
            f"--cache-dir={UV_CACHE} --link-mode=copy {' '.join((*WHEELS_ONLY, *building(layer)))} "
            "--requirements=/mnt/requirements.txt",
        )

    def _source(self) -> Iterator[str]:
        """The source with the directories that a run fills, all of one time."""
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

    def _whole(self) -> Iterator[str]:
        yield from ("", "FROM system")
        yield from (f"COPY --from={_stage(layer)} {PREFIX} {PREFIX}" for layer in self.layers)
        yield f"COPY --from=source --chown={self.image.user}:{self.image.user} {APP} {APP}"
        asked = [f"{self.image.target}/{layer.name}" for layer in self.layers]
        yield from run(
            [
                _bound("probes", "/mnt/probes"),
                _bound("asked", "/mnt/asked"),
                f"type=cache,id={probe.BYTECODE_VOLUME},target={probe.BYTECODE}",
                "type=tmpfs,target=/tmp",
            ],
            f"set -eu; cd /tmp; for subject in {' '.join([*asked, self.name])}; do \\\n"
            f"      env HOME=/tmp {' '.join(probe.ENVIRON)} {PYTHON} /mnt/probes/run.py "
            "< /mnt/asked/$subject.json; \\\n    done",
        )
        yield from self._configuration()

    def _configuration(self) -> Iterator[str]:
        """How the image starts, and what it says of itself."""
        for key, value in sorted(self.image.env.items()):
            yield f"ENV {key}={_quoted(value)}"
        yield from (f"EXPOSE {port}" for port in sorted(self.image.ports))
        if self.image.healthcheck:
            yield f"HEALTHCHECK CMD {_words(self.image.healthcheck)}"
        yield f"WORKDIR {APP}"
        yield f"USER {self.image.user}"
        yield f"ENTRYPOINT {_words(self.image.entrypoint)}"
        yield f"CMD {_words(self.image.command)}"
        yield f"LABEL org.opencontainers.image.title={_quoted(self.name)}"
        yield f"LABEL org.opencontainers.image.base.name={_quoted(self.definition.base.image)}"
        yield f"LABEL layerline.target={_quoted(self.image.target)}"

    def _cache(self, name: str, target: str) -> str:
        return f"type=cache,id=uv-{name}-{self.image.target}-v2,target={target}"


def run(mounts: Sequence[str], command: str) -> Iterator[str]:
    """A RUN with each mount on a line of its own."""
    words = ["RUN", *(f"--mount={mount}" for mount in mounts)]
    yield " \\\n    ".join([" ".join(words[:2]), *words[2:], command])


def _bound(path: str, target: str) -> str:
    return f"type=bind,source={PLACE}/{path},target={target}"


def _cut(name: str, target: str = "/mnt/requirements.txt") -> str:
    return f"type=bind,from=requirements,source=/requirements/{name}.txt,target={target}"


def _secrets(name: str, target: str) -> tuple[str, str]:
    return f"type=secret,id=ca,target={_CA}", f"type=secret,id={name},target={target}"


def _stage(layer: Layer) -> str:
    return f"layer-{layer.name.replace('+', '-')}"


def _words(words: Sequence[str]) -> str:
    return json.dumps(list(words))


def _quoted(value: str) -> str:
    for each in ("\\", '"', "$"):
        value = value.replace(each, f"\\{each}")
    return f'"{value}"'


def _context(image: Image, ignored: Sequence[str]) -> str:
    """What the daemon is sent: the image's source, its lock, and what the Dockerfile uses."""
    lines = ["*", *(f"!{pattern}" for pattern in image.source), *ignored]
    return "\n".join([*lines, f"!{lock.path(image.target)}", f"!{PLACE}"]) + "\n"
