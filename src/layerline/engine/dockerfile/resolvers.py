"""`Directory.dockerBuild`."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING

from layerline.engine.api.fields import field
from layerline.engine.dockerfile.build import Request, build
from layerline.engine.image.platform import Platform
from layerline.engine.solve import ops
from layerline.errors import NotSupported, QueryError

if TYPE_CHECKING:
    from layerline.engine.api.objects import Container, Directory, Secret, Value
    from layerline.engine.api.session import Call

_SECRETS = "/run/secrets"


@field(
    "Directory",
    "dockerBuild",
    differs="no ssh agent, ADD of git repositories or RUN --network=none; frontends are not run",
)
async def docker_build(
    self: Directory,
    call: Call,
    *,
    dockerfile: str = "Dockerfile",
    platform: str | None = None,
    build_args: list[dict[str, str]] | None = None,
    target: str = "",
    secrets: list[Secret] | None = None,
    no_init: bool = False,
    ssh: Value | None = None,
) -> Container:
    """Build a Dockerfile with this directory as its context; secrets go by their names."""
    if ssh is not None:
        what = "Directory.dockerBuild(ssh:)"
        raise NotSupported(what)
    secrets_by_name = _by_name(secrets or [])
    request = Request(
        directory=self,
        dockerfile=dockerfile or "Dockerfile",
        platform=Platform.parse(platform) if platform else Platform.of_host(),
        arguments={arg["name"]: arg["value"] for arg in build_args or ()},
        target=target,
        secrets=secrets_by_name,
        init=not no_init,
    )
    container = await build(call, request)
    if container.rootfs is not None:
        await call.session.solver.result(container.rootfs)
    return replace(
        container, mounts=(*container.mounts, *map(_secret_mount, secrets_by_name.values()))
    )


def _by_name(secrets: list[Secret]) -> dict[str, Secret]:
    found: dict[str, Secret] = {}
    for secret in secrets:
        if not secret.name:
            message = (
                "a secret without a name cannot be referenced from a Dockerfile; use setSecret"
            )
            raise QueryError(message)
        if found.setdefault(secret.name, secret) != secret:
            message = f'multiple secrets provided for dockerBuild secret id "{secret.name}"'
            raise QueryError(message)
    return found


def _secret_mount(secret: Secret) -> ops.SecretMount:
    """The Dagger engine leaves the secrets of a build mounted for later execs."""
    ref = ops.SecretRef(identity=secret.identity, name=secret.name)
    return ops.SecretMount(target=posixpath.join(_SECRETS, secret.name), secret=ref)
