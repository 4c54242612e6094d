"""From lines to instructions: a function for each keyword, and BuildKit's words for mistakes."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from layerline.dockerfile_lexer import (
    Line,
    Source,
    heredoc_heading,
    read_source,
    split_plain,
    split_quoted,
)
from layerline.engine.api.durations import nanoseconds
from layerline.engine.dockerfile import instructions as i
from layerline.engine.dockerfile.words import Flags, json_words, pairs
from layerline.engine.image.config import Healthcheck
from layerline.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Callable

_STAGE_NAME = re.compile(r"[a-z][a-z0-9-_.]*")
_NO_TRIGGERS = frozenset({"MAINTAINER", "FROM"})
_COPY_FLAGS = ("from", "chown", "chmod", "link?", "parents?", "exclude")
_ADD_FLAGS = ("chown", "chmod", "link?", "keep-git-dir?", "checksum", "unpack?", "exclude")
_TIMES = ("interval", "timeout", "start-period", "start-interval")
_SHORTEST_NANOSECONDS = 1_000_000


def parse(text: str) -> i.Dockerfile:
    """Read a Dockerfile; QueryError says on which line it is wrong."""
    if not text.strip():
        message = "the Dockerfile cannot be empty"
        raise QueryError(message)
    source = _read_source(text)
    arguments: list[i.Arg] = []
    stages: list[i.Stage] = []
    for line in source.lines:
        try:
            _take(line, source.escape, arguments, stages)
        except QueryError as exc:
            message = f"dockerfile parse error on line {line.number}: {exc}"
            raise QueryError(message) from exc
    if not stages:
        message = "dockerfile contains no stages to build"
        raise QueryError(message)
    return i.Dockerfile(
        arguments=tuple(arguments),
        stages=tuple(stages),
        escape=source.escape,
        syntax=source.syntax,
    )


def parse_trigger(text: str) -> i.Instruction:
    """Read the instruction of an ONBUILD."""
    source = _read_source(text)
    if len(source.lines) != 1:
        message = "onbuild trigger should be a single expression"
        raise QueryError(message)
    return _instruction(source.lines[0], source.escape)


def _read_source(text: str) -> Source:
    source = read_source(text)
    if source.errors:
        raise QueryError(source.errors[0])
    return source


def _take(line: Line, escape: str, arguments: list[i.Arg], stages: list[i.Stage]) -> None:
    if line.keyword == "FROM":
        stages.append(_stage(line))
        return
    instruction = _instruction(line, escape)
    if stages:
        last = stages[-1]
        stages[-1] = replace(last, instructions=(*last.instructions, instruction))
    elif isinstance(instruction, i.Arg):
        arguments.append(instruction)
    else:
        message = "no build stage in current context"
        raise QueryError(message)


def _instruction(line: Line, escape: str) -> i.Instruction:
    reader = _READERS.get(line.keyword)
    if reader is None:
        message = f"unknown instruction: {line.keyword}"
        raise QueryError(message)
    return reader(line, escape)


def _stage(line: Line) -> i.Stage:
    words = split_plain(line.rest)
    flags = Flags.parse(line.flags, ("platform",))
    name = ""
    if len(words) == 3 and words[1].lower() == "as":
        name = words[2].lower()
        if not _STAGE_NAME.fullmatch(name):
            message = (
                f'invalid name for build stage: "{words[2]}", '
                "name can't start with a number or contain symbols"
            )
            raise QueryError(message)
    elif len(words) != 1:
        message = "FROM requires either one or three arguments"
        raise QueryError(message)
    return i.Stage(base=words[0], name=name, platform=flags.one("platform"))


def _arg(line: Line, escape: str) -> i.Arg:
    words = [word.partition("=") for word in _some(line, split_quoted(line.rest, escape))]
    if any(not name for name, _, _ in words):
        message = "ARG names can not be blank"
        raise QueryError(message)
    return i.Arg(pairs=tuple((name, value if given else None) for name, given, value in words))


def _env(line: Line, escape: str) -> i.Env:
    Flags.parse(line.flags, ())
    return i.Env(pairs=pairs(line.rest, "ENV", escape))


def _label(line: Line, escape: str) -> i.Label:
    Flags.parse(line.flags, ())
    return i.Label(pairs=pairs(line.rest, "LABEL", escape))


def _maintainer(line: Line, _escape: str) -> i.Maintainer:
    return i.Maintainer(author=_one(line))


def _run_instruction(line: Line, _escape: str) -> i.Run:
    flags = Flags.parse(line.flags, ("mount", "network", "security", "device"))
    if flags.all("device"):
        message = "RUN --device is not supported by the embedded engine"
        raise QueryError(message)
    return i.Run(
        command=_command(line, line.rest),
        mounts=flags.all("mount"),
        network=flags.one("network"),
        security=flags.one("security"),
    )


def _command(line: Line, rest: str) -> i.Command:
    words = json_words(rest)
    if words is not None:
        return i.Command(words=words, shell=False)
    return i.Command(words=(rest,) if rest else (), shell=True, heredocs=line.heredocs)


def _cmd(line: Line, _escape: str) -> i.Cmd:
    Flags.parse(line.flags, ())
    return i.Cmd(command=_command(line, line.rest))


def _entrypoint(line: Line, _escape: str) -> i.Entrypoint:
    Flags.parse(line.flags, ())
    return i.Entrypoint(command=_command(line, line.rest))


def _copy(line: Line, _escape: str) -> i.Copy:
    flags = Flags.parse(line.flags, _COPY_FLAGS)
    return replace(
        _placement(line, flags), stage=flags.one("from"), parents=flags.is_set("parents")
    )


def _add(line: Line, _escape: str) -> i.Copy:
    flags = Flags.parse(line.flags, _ADD_FLAGS)
    return replace(
        _placement(line, flags),
        add=True,
        unpack=flags.is_set("unpack") if flags.all("unpack") else None,
        checksum=flags.one("checksum"),
    )


def _placement(line: Line, flags: Flags) -> i.Copy:
    words = json_words(line.rest) or tuple(split_plain(line.rest))
    if len(words) < 2:
        message = (
            f"{line.keyword} requires at least two arguments, but only one was provided. "
            "Destination could not be determined"
        )
        raise QueryError(message)
    *sources, destination = words
    if heredoc_heading(destination) is not None:
        message = f"{line.keyword} cannot accept a heredoc as a destination"
        raise QueryError(message)
    inline = line.heredocs
    return i.Copy(
        sources=tuple(s for s in sources if not inline or heredoc_heading(s) is None),
        heredocs=inline,
        destination=destination,
        owner=flags.one("chown"),
        mode=flags.one("chmod"),
        exclude=flags.all("exclude"),
    )


def _workdir(line: Line, _escape: str) -> i.Workdir:
    return i.Workdir(path=_one(line))


def _user(line: Line, _escape: str) -> i.User:
    return i.User(name=_one(line))


def _stop_signal(line: Line, _escape: str) -> i.StopSignal:
    return i.StopSignal(signal=_one(line))


def _shell(line: Line, _escape: str) -> i.Shell:
    Flags.parse(line.flags, ())
    words = json_words(line.rest)
    if words is None:
        message = f"SHELL requires the arguments to be in JSON form: SHELL {line.rest}"
        raise QueryError(message)
    return i.Shell(words=tuple(_some(line, list(words))))


def _expose(line: Line, _escape: str) -> i.Expose:
    Flags.parse(line.flags, ())
    return i.Expose(ports=tuple(sorted(_some(line, split_plain(line.rest)))))


def _volume(line: Line, _escape: str) -> i.Volume:
    Flags.parse(line.flags, ())
    words = _some(line, list(json_words(line.rest) or split_plain(line.rest)))
    if any(not word.strip() for word in words):
        message = "VOLUME specified can not be an empty string"
        raise QueryError(message)
    return i.Volume(paths=tuple(word.strip() for word in words))


def _healthcheck(line: Line, _escape: str) -> i.HealthcheckInstruction:
    kind, *arguments = _some(line, line.rest.split(None, 1))
    match kind.upper():
        case "CMD":
            return i.HealthcheckInstruction(check=_check(line, "".join(arguments)))
        case "NONE" if arguments:
            message = "HEALTHCHECK NONE takes no arguments"
        case "NONE":
            return i.HealthcheckInstruction(check=Healthcheck(test=("NONE",)))
        case _:
            message = f'Unknown type "{kind.upper()}" in HEALTHCHECK (try CMD)'
    raise QueryError(message)


def _check(line: Line, rest: str) -> Healthcheck:
    flags = Flags.parse(line.flags, (*_TIMES, "retries"))
    command = _command(line, rest)
    if not command.words:
        message = "Missing command after HEALTHCHECK CMD"
        raise QueryError(message)
    interval, timeout, start_period, start_interval = (_time(flags, name) for name in _TIMES)
    return Healthcheck(
        test=("CMD-SHELL" if command.shell else "CMD", *command.words),
        interval=interval,
        timeout=timeout,
        start_period=start_period,
        start_interval=start_interval,
        retries=_retries(flags.one("retries")),
    )


def _time(flags: Flags, name: str) -> int:
    value = nanoseconds(flags.one(name) or "0s")
    if 0 != value < _SHORTEST_NANOSECONDS:
        message = f'Interval "{name}" cannot be less than 1ms'
        raise QueryError(message)
    return value


def _retries(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+|", text):
        message = f"invalid value for --retries: '{text}' is not an integer"
        raise QueryError(message)
    number = int(text or "0")
    if number < 0:
        message = f"--retries cannot be negative ({number})"
        raise QueryError(message)
    return number


def _onbuild(line: Line, _escape: str) -> i.Onbuild:
    keyword = _some(line, split_plain(line.rest))[0].upper()
    if keyword == "ONBUILD":
        message = "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"
        raise QueryError(message)
    if keyword in _NO_TRIGGERS:
        message = f"{keyword} isn't allowed as an ONBUILD trigger"
        raise QueryError(message)
    if keyword not in _READERS:
        message = f"unknown instruction: {keyword}"
        raise QueryError(message)
    return i.Onbuild(trigger=line.texts())


def _one(line: Line) -> str:
    Flags.parse(line.flags, ())
    if not line.rest:
        message = f"{line.keyword} requires exactly one argument"
        raise QueryError(message)
    return line.rest


def _some(line: Line, words: list[str]) -> list[str]:
    if not words:
        message = f"{line.keyword} requires at least one argument"
        raise QueryError(message)
    return words


_READERS: dict[str, Callable[[Line, str], i.Instruction]] = {
    "ADD": _add,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "RUN": _run_instruction,
    "SHELL": _shell,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
