"""The two Dockerfiles that docker is given; both install the same lock with the same cache mounts.

The rendered ones are the repository's own, with a stage for each layer and with the probes. The
plain one is what one writes by hand: an installation after the other, and no probes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from layerline.pipeline import dockerfile
from layerline.pipeline.ignore_files import from_gitignore
from layerline.pipeline.source import NEVER_SELECTED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.docker.repository import Repository
    from layerline.pipeline.layer import Layer

# Layerline leaves what is below dockerfiles/ out of an image's source.
PLAIN = f"{dockerfile.PLACE}/plain"
_CA = "/etc/ssl/certs/ca-certificates.crt"
_SECRET = f"type=secret,id=ca,target={_CA}"
# A directory of wheels, where this machine has one; not in the key of a step.
_WHEELS = "type=secret,id=uv,target=/etc/uv/uv.toml"


def render(repository: Repository) -> None:
    """Render the Dockerfiles for the locks as they are now."""
    definition = repository.definition
    targets = {image.target for image in definition.images.values()}
    locks = {target: repository.lock(target) for target in targets}
    git = from_gitignore({".gitignore": (repository.place / ".gitignore").read_text()})
    files = dockerfile.render(definition, locks, ignored=[*git, *NEVER_SELECTED])
    for path, text in files.items():
        place = repository.place / dockerfile.PLACE / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)


def write_plain(repository: Repository) -> None:
    """Write the plain Dockerfile, what it may see of the context, and the requirements."""
    place = repository.place / PLAIN
    place.mkdir(exist_ok=True)
    rendered = place.parent / f"{repository.image}.Dockerfile.dockerignore"
    if not rendered.exists():
        render(repository)
    (place / "Dockerfile.dockerignore").write_text(rendered.read_text())
    for layer in repository.layers():
        (place / f"{layer.name}.txt").write_text(layer.requirements)
    (place / "Dockerfile").write_text("\n".join(_lines(repository)) + "\n")


def _lines(repository: Repository) -> Iterator[str]:
    spec, base = repository.spec, repository.definition.base
    target = spec.target
    asked = [name for group in spec.groups for name in repository.definition.groups[group].packages]
    yield f"FROM {base.image}"
    yield f"ENV PATH=/opt/venv/bin:$PATH PIP_CERT={_CA} SSL_CERT_FILE={_CA}"
    yield from dockerfile.run_instruction(
        [f"type=cache,id=apt-cache-{target}-v2,target=/var/cache/apt,sharing=locked"],
        "rm -f /etc/apt/apt.conf.d/docker-clean && apt-get update --quiet "
        "&& apt-get install --yes --quiet --no-install-recommends "
        f"-o APT::Keep-Downloaded-Packages=true {' '.join(sorted({*base.packages, *asked}))} "
        "&& rm -rf /var/lib/apt/lists/*",
    )
    yield from dockerfile.run_instruction(
        [f"type=cache,id=uv-resolve-{target}-v2,target=/root/.cache/pip", _SECRET],
        "python3 -m venv /opt/venv && pip install --quiet uv",
    )
    for layer in _ordered(repository.layers(), spec.groups):
        yield from dockerfile.run_instruction(
            [
                f"type=cache,id=uv-{layer.name}-{target}-v2,target=/mnt/uv",
                f"type=bind,source={PLAIN}/{layer.name}.txt,target=/mnt/requirements.txt",
                _SECRET,
                _WHEELS,
            ],
            "uv pip install --python=/opt/venv/bin/python --cache-dir=/mnt/uv --link-mode=copy "
            "--compile-bytecode --no-deps --requirements=/mnt/requirements.txt",
        )
    yield from ("WORKDIR /app", "COPY . .", f"CMD {json.dumps(list(spec.command))}")


def _ordered(layers: Sequence[Layer], groups: Sequence[str]) -> list[Layer]:
    """What several groups share comes first, then the groups as they are declared."""
    place = {name: number for number, name in enumerate(groups)}
    return sorted(layers, key=lambda layer: place.get(layer.name, -1))
