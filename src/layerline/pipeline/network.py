"""Network access of containers: certificates, credentials, and offline mode.

Invariant: none of it is stored in a layer. Credentials are secrets, and offline mode is a volatile
variable: a step that ran once is a cache hit without a network.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import dagger
from dagger import dag

OFFLINE = "OFFLINE"
_CA_BUNDLE = "/mnt/ca-bundle.crt"
_TRUST = ("PIP_CERT", "SSL_CERT_FILE")
_NETRC = "/mnt/netrc"
_PASSWORD = re.compile(r"\bpassword\s+(\S+)")


class NetworkError(ValueError):
    """A download is impossible with the given flags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Certificates to trust instead of the image's, a netrc file, and its passwords alone.

    The passwords are mounted as well, because an engine redacts only complete secrets in output.
    """

    ca_bundle: dagger.File | None
    netrc: dagger.Secret | None
    passwords: tuple[dagger.Secret, ...]
    offline: bool

    def mount(self, container: dagger.Container) -> dagger.Container:
        """Prepare a container for execs that download."""
        container = container.with_volatile_variable(OFFLINE, "1" if self.offline else "")
        if self.ca_bundle is not None:
            container = container.with_mounted_file(_CA_BUNDLE, self.ca_bundle)
            for name in _TRUST:
                container = container.with_env_variable(name, _CA_BUNDLE)
        if self.netrc is not None:
            container = container.with_mounted_secret(_NETRC, self.netrc)
            container = container.with_env_variable("NETRC", _NETRC)
            for number, password in enumerate(self.passwords):
                container = container.with_mounted_secret(f"{_NETRC}.{number}", password)
        return container

    def unmount(self, container: dagger.Container) -> dagger.Container:
        """Undo `mount`."""
        container = container.without_volatile_variable(OFFLINE)
        if self.ca_bundle is not None:
            container = container.without_mount(_CA_BUNDLE)
            for name in _TRUST:
                container = container.without_env_variable(name)
        if self.netrc is not None:
            container = container.without_mount(_NETRC).without_env_variable("NETRC")
            for number in range(len(self.passwords)):
                container = container.without_mount(f"{_NETRC}.{number}")
        return container

    async def inputs(self) -> dict[str, str]:
        """The inputs of a layer's key, by flag."""
        return {"--ca-bundle": await self.ca_bundle.digest() if self.ca_bundle else ""}

    async def check_base(self, image: str) -> None:
        """Raise an error with a hint if the base image is not in the store in offline mode."""
        if not self.offline:
            return
        try:
            await dag.container().from_(image).sync()
        except dagger.QueryError as exc:
            message = (
                f"the base image {image} is not in the store: run the same command once without "
                f"--offline. {exc}"
            )
            raise NetworkError(message) from exc


async def network(
    *,
    ca_bundle: dagger.File | None,
    credentials: dagger.Secret | None,
    offline: bool,
    indexes: tuple[str, ...],
) -> Network:
    """The network with the credentials of package indexes, in either form."""
    for url in indexes:
        check_no_credentials(url)
    text = "" if credentials is None else netrc(await credentials.plaintext(), indexes)
    found = sorted(set(_PASSWORD.findall(text)))
    return Network(
        ca_bundle=ca_bundle,
        netrc=dag.set_secret("layerline-netrc", text) if text else None,
        passwords=tuple(
            dag.set_secret(f"layerline-password-{number}", each)
            for number, each in enumerate(found)
        ),
        offline=offline,
    )


def check_no_credentials(url: str) -> None:
    """Refuse an index with its password in it, which keys, logs and evidence would show."""
    parts = urlsplit(url)
    if parts.username is not None:
        message = (
            f"the index at {parts.hostname} has credentials in its URL, which logs would show: "
            "remove them and use --index-credentials=env:NAME with USER:PASSWORD"
        )
        raise NetworkError(message)


def netrc(text: str, indexes: tuple[str, ...]) -> str:
    """Credentials as a netrc file; USER:PASSWORD is for the host of the first index."""
    text = text.strip()
    if _PASSWORD.search(text):
        return f"{text}\n"
    user, colon, password = text.partition(":")
    hosts = [parts.hostname for url in indexes if (parts := urlsplit(url)).hostname]
    if not hosts:
        message = "--index-credentials requires --index-url or --extra-index-url"
        raise NetworkError(message)
    if not (user and colon and password) or len(text.split()) > 1:
        message = (
            "invalid --index-credentials: use USER:PASSWORD without spaces or the text of a netrc "
            f"file, e.g. machine {hosts[0]} login USER password PASSWORD"
        )
        raise NetworkError(message)
    return f"machine {hosts[0]} login {user} password {password}\n"
