"""Reads an object of `gs://` and `s3://` in pieces, each within a time limit.

The libraries are imported only when a location asks for one: they cost seconds of a cold start and
tens of megabytes. Their exceptions end here: each becomes a LocationRefused.
"""

import sys
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from time import monotonic
from types import MappingProxyType

from ct_scan_mlops.errors import LocationRefused
from ct_scan_mlops.settings import use_plain_gcsfs

CHUNK = 8 * 1024 * 1024
REQUEST_SECONDS = 30
TOTAL_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Backend:
    """The package behind a scheme, and how it is told of time limits."""

    package: str
    options: Mapping[str, object]
    credentials: str


_BACKENDS = MappingProxyType(
    {
        "gs": _Backend(
            package="gcsfs",
            options={"requests_timeout": REQUEST_SECONDS},
            credentials="the service account, or GOOGLE_APPLICATION_CREDENTIALS",
        ),
        "s3": _Backend(
            package="s3fs",
            options={
                "config_kwargs": {
                    "connect_timeout": REQUEST_SECONDS,
                    "read_timeout": REQUEST_SECONDS,
                    "retries": {"max_attempts": 3},
                }
            },
            credentials="the role, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ),
    }
)

# What the libraries raise beside OSError; looked up by name, since none of them need be installed.
_FOREIGN = (
    ("aiohttp", "ClientError"),
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("gcsfs.retry", "HttpError"),
    ("google.auth.exceptions", "GoogleAuthError"),
)


def is_remote(text: str) -> bool:
    return "://" in text


def shown(text: str) -> str:
    """The location without what may be a password before its host or bucket."""
    scheme, separator, rest = text.partition("://")
    bucket, slash, name = rest.partition("/")
    return scheme + separator + bucket.rpartition("@")[2] + slash + name


def remote_chunks(url: str, *, anonymous: bool) -> Generator[bytes, None, None]:
    backend = _backend_of(url)
    try:
        yield from _chunks(url, backend, anonymous=anonymous)
    except ImportError as exc:
        message = (
            f"The package {backend.package}, which reads it, is not installed. "
            "Use the image api-cloudrun, or mount the file and name its path."
        )
        raise LocationRefused(message) from exc
    except FileNotFoundError as exc:
        message = "There is no such object. Upload it, or change the variable."
        raise LocationRefused(message) from exc
    except PermissionError as exc:
        message = f"Reading it was denied. Give the right to {backend.credentials}."
        raise LocationRefused(message) from exc
    except _failures() as exc:
        message = (
            f"It could not be read ({type(exc).__name__}). Check the location, the network and "
            f"the credentials ({backend.credentials})."
        )
        raise LocationRefused(message) from exc


def _backend_of(url: str) -> _Backend:
    scheme, _, rest = url.partition("://")
    backend = _BACKENDS.get(scheme)
    if backend is None:
        known = ", ".join(f"{name}://" for name in _BACKENDS)
        message = f"Only {known} and paths are read. Change the variable to one of these."
        raise LocationRefused(message)
    bucket, _, name = rest.partition("/")
    if not bucket or not name or name.endswith("/"):
        message = f"It names no object. Write {scheme}://BUCKET/PATH/TO/FILE."
        raise LocationRefused(message)
    return backend


def _chunks(url: str, backend: _Backend, *, anonymous: bool) -> Generator[bytes, None, None]:
    import fsspec

    if backend.package == "gcsfs":
        use_plain_gcsfs()
    deadline = monotonic() + TOTAL_SECONDS
    options = dict(backend.options)
    if anonymous and backend.package == "gcsfs":
        options["token"] = "anon"
    scheme, _, path = url.partition("://")
    system = fsspec.filesystem(scheme, **options)
    system.invalidate_cache()
    size = int(system.info(path, timeout=REQUEST_SECONDS)["size"])
    for start in range(0, size, CHUNK):
        if monotonic() > deadline:
            message = f"it took more than {TOTAL_SECONDS:g} s"
            raise TimeoutError(message)
        end = min(start + CHUNK, size)
        yield system.cat_file(path, start=start, end=end, timeout=REQUEST_SECONDS)


def _failures() -> tuple[type[Exception], ...]:
    loaded = [(sys.modules[module], name) for module, name in _FOREIGN if module in sys.modules]
    return (OSError, ValueError, *(getattr(module, name) for module, name in loaded))
