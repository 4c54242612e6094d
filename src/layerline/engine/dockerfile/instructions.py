"""The instructions of a Dockerfile as values. Variables in them are not replaced yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from layerline.dockerfile_lexer import Heredoc
    from layerline.engine.image.config import Healthcheck


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command line: the words of the exec form, or the one text of the shell form."""

    words: tuple[str, ...]
    shell: bool
    heredocs: tuple[Heredoc, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg:
    """ARG: names with a default or None."""

    pairs: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Env:
    """ENV."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """LABEL."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintainer:
    """MAINTAINER."""

    author: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """RUN; `mounts` are the texts of its --mount flags."""

    command: Command
    mounts: tuple[str, ...] = ()
    network: str = ""
    security: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """COPY, or ADD when `add`, which unpacks archives unless `unpack` says otherwise."""

    sources: tuple[str, ...]
    destination: str
    heredocs: tuple[Heredoc, ...] = ()
    add: bool = False
    stage: str = ""
    owner: str = ""
    mode: str = ""
    exclude: tuple[str, ...] = ()
    parents: bool = False
    unpack: bool | None = None
    checksum: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir:
    """WORKDIR."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """USER."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cmd:
    """CMD."""

    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint:
    """ENTRYPOINT."""

    command: Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """SHELL."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose:
    """EXPOSE."""

    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """VOLUME."""

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSignal:
    """STOPSIGNAL."""

    signal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthcheckInstruction:
    """HEALTHCHECK."""

    check: Healthcheck


@dataclass(frozen=True, slots=True, kw_only=True)
class Onbuild:
    """ONBUILD: the instruction to run, as text, in builds upon this image."""

    trigger: str


Instruction = (
    Arg
    | Env
    | Label
    | Maintainer
    | Run
    | Copy
    | Workdir
    | User
    | Cmd
    | Entrypoint
    | Shell
    | Expose
    | Volume
    | StopSignal
    | HealthcheckInstruction
    | Onbuild
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """From one FROM to the next. `name` is in small letters, empty for a stage without one."""

    base: str
    name: str = ""
    platform: str = ""
    instructions: tuple[Instruction, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Dockerfile:
    """A parsed file: the ARGs before the first FROM, and the stages."""

    arguments: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    escape: str = "\\"
    syntax: str = ""
