"""Network access of containers: certificates, credentials, and offline mode.

Invariant: none of it is in a layer or in a key; `supplies` gives it to the steps.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import dagger
from dagger import dag

from layerline.pipeline.errors import PipelineError

_PASSWORD = re.compile(r"\bpassword\s+(\S+)")


class NetworkError(PipelineError):
    """A download is impossible with the given flags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Certificates to trust instead of the image's, the text of a netrc file, and offline mode.

    `masked` are passwords and hosts: an engine redacts only complete secrets and lines of them.
    """

    ca_bundle: dagger.File | None
    netrc: str
    masked: tuple[str, ...]
    offline: bool

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
    masked: tuple[str, ...],
) -> Network:
    """The network with the credentials of package indexes, in either form."""
    for url in indexes:
        check_no_credentials(url)
    text = "" if credentials is None else netrc(await credentials.plaintext(), indexes)
    return Network(
        ca_bundle=ca_bundle,
        netrc=text,
        masked=(*sorted(set(_PASSWORD.findall(text))), *masked),
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
