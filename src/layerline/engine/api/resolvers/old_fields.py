"""What SDKs older than v0.19 call by another name, or with another argument."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from layerline.engine.api.fields import FIELDS, old_field
from layerline.engine.api.host_paths import host_path
from layerline.engine.api.resolvers.secret import set_secret
from layerline.errors import PathNotFound, SecretError
from layerline.text_file import read_text

if TYPE_CHECKING:
    from layerline.engine.api.objects import Container, Directory, Host, Secret
    from layerline.engine.api.resolvers.git import GitRepository
    from layerline.engine.api.session import Call


@old_field("Container", "withDirectory")
@old_field("Directory", "withDirectory")
def with_directory(
    self: Container | Directory, call: Call, *, directory: Directory, **more: Any
) -> Any:
    """`directory` became `source`."""
    return FIELDS[self.typename, "withDirectory"].resolve(self, call, source=directory, **more)


@old_field("Container", "build")
async def build(_self: Container, call: Call, *, context: Directory, **more: Any) -> Any:
    """`Directory.dockerBuild` took its place."""
    return await FIELDS["Directory", "dockerBuild"].resolve(context, call, **more)


@old_field("GitRepository", "withAuthToken")
def with_auth_token(self: GitRepository, _call: Call, *, token: Secret) -> GitRepository:
    """The argument `httpAuthToken` of `git` took its place."""
    return replace(self, token=token)


@old_field("GitRepository", "withAuthHeader")
def with_auth_header(self: GitRepository, _call: Call, *, header: Secret) -> GitRepository:
    """The argument `httpAuthHeader` of `git` took its place."""
    return replace(self, header=header)


@old_field("Host", "setSecretFile")
def set_secret_file(_self: Host, call: Call, *, name: str, path: str) -> Secret:
    """Secrets with the URI of a file took its place."""
    place = host_path(call, path)
    if not place.is_file():
        raise PathNotFound(str(place))
    plaintext = read_text(place, hint="name a file of text that you may read", error=SecretError)
    return set_secret(call.session.root, call, name=name, plaintext=plaintext)
