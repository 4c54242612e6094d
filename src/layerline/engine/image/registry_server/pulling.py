"""An image that a container program of this machine pulls from this process.

Its daemon pulls from a loopback port, at a path that nobody can guess, and only what it lacks. It
cannot where it has another loopback: on another machine, in a virtual machine (Docker Desktop) or
in a network namespace of its own (rootless docker).
"""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline import command
from layerline.engine.image.reference import DEFAULT_TAG
from layerline.engine.image.registry_server.application import RegistryApplication
from layerline.engine.image.registry_server.content import OneImage, repository_of
from layerline.engine.image.registry_server.server import LOOPBACK, serve_registry
from layerline.errors import CommandFailed, ImageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from layerline.engine.image.assemble import AssembledImage
    from layerline.engine.image.container_programs import ContainerProgram
    from layerline.engine.image.manifests import Descriptor
    from layerline.engine.image.reference import Reference
    from layerline.engine.image.registry_server.served_layers import ServedLayers

_TOKEN_BYTES = 16


def pull_into(
    found: tuple[ContainerProgram, Path],
    image: AssembledImage,
    served: ServedLayers,
    reference: Reference,
    environ: Mapping[str, str],
) -> tuple[Descriptor, ...]:
    """Let a program pull an image and name it; returns the layers that it asked for.

    Raises ImageError, with the reason, if it could not.
    """
    known, path = found
    run = _Runner(path, environ)
    name = secrets.token_hex(_TOKEN_BYTES)
    tags = {DEFAULT_TAG: image.root.digest}
    repository = repository_of(image, content_of=served.content, tags=tags)
    application = RegistryApplication(catalog=OneImage(name, repository))
    with serve_registry(application) as port:
        place = f"{LOOPBACK}:{port}/{name}:{DEFAULT_TAG}"
        try:
            run(*known.pull, place)
        except CommandFailed as exc:
            if not application.traffic.requests:
                message = "its daemon does not reach the loopback interface of this machine"
                raise ImageError(message) from exc
            lines = exc.stderr.strip().splitlines()
            raise ImageError(lines[-1] if lines else str(exc)) from exc
    try:
        run("tag", place, str(reference))
    finally:
        with contextlib.suppress(CommandFailed):
            run(*(word.format(place) for word in known.untag))
    sent = application.traffic.blobs
    return tuple(layer for layer in image.layers if layer.digest in sent)


@dataclass(frozen=True, slots=True)
class _Runner:
    """Runs a program."""

    path: Path
    environ: Mapping[str, str]

    def __call__(self, *argv: str) -> None:
        command.run([self.path, *argv], env=self.environ)
