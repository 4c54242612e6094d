"""The types of tables and values in a `layerline.toml`, with what is wrong with others."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, StringConstraints

from layerline.pipeline.diagnostics import EVERY_TARGET
from layerline.pipeline.requirement import REQUIREMENT, check_requirement, refuse_line

LAST_PORT = 65535
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$")]
# A pattern first: options of an installer are not requirements, and no message of PEP 508 says so.
Requirement = Annotated[
    str,
    BeforeValidator(refuse_line),
    StringConstraints(pattern=REQUIREMENT),
    AfterValidator(check_requirement),
]
Path = Annotated[str, StringConstraints(pattern=r"^[^/]")]


class Table(BaseModel):
    """A table of the file: frozen, without any other key."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _by_target(value: object) -> object:
    return {EVERY_TARGET: value} if isinstance(value, list | tuple) else value


def _port(value: int) -> int:
    if not 1 <= value <= LAST_PORT:
        message = f"ports are numbers from 1 to {LAST_PORT}"
        raise ValueError(message)
    return value


def _user(value: str) -> str:
    if value.isdigit():
        message = "the run user gets the ids 1000:1000, so a number would be another one's"
        raise ValueError(message)
    return value


def _index_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        message = "an index has a URL of http or https"
        raise ValueError(message)
    if "@" in parts.netloc:
        message = "credentials are not written here: give --index-credentials"
        raise ValueError(message)
    return value


IndexUrl = Annotated[str, AfterValidator(_index_url), StringConstraints(pattern=r"^\S+$")]
Port = Annotated[int, AfterValidator(_port)]
# The names that useradd of Debian accepts.
User = Annotated[str, AfterValidator(_user), StringConstraints(pattern=r"^[a-z_][a-z0-9_-]*$")]
ByTarget = Annotated[dict[str, tuple[Requirement, ...]], BeforeValidator(_by_target)]
