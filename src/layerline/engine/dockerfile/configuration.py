"""Instructions that only change the image's configuration, and its transfer to the container."""

from __future__ import annotations

import posixpath
import re
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

from layerline.engine.api.resolvers import container_config as fields
from layerline.engine.dockerfile import instructions as i
from layerline.engine.dockerfile.expansion import expand_words
from layerline.errors import QueryError

if TYPE_CHECKING:
    from layerline.engine.api.objects import Container
    from layerline.engine.api.session import Call
    from layerline.engine.dockerfile.state import State

Configuring = (
    i.Env
    | i.Label
    | i.Maintainer
    | i.User
    | i.Cmd
    | i.Entrypoint
    | i.Shell
    | i.Expose
    | i.Volume
    | i.StopSignal
    | i.HealthcheckInstruction
    | i.Onbuild
)
_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_LAST_PORT = 65535
_PROTOCOLS = ("tcp", "udp", "sctp")


def apply_to_image(state: State, instruction: Configuring) -> State:
    """Apply an instruction that changes no files."""
    expand = state.expand
    match instruction:
        case i.Env():
            return state.with_env(tuple((expand(n), expand(v)) for n, v in instruction.pairs))
        case i.Label():
            labels = dict(state.image.labels)
            labels |= {expand(name): expand(value) for name, value in instruction.pairs}
            return state.with_image(replace(state.image, labels=tuple(labels.items())))
        case i.Maintainer():
            return state.with_image(replace(state.image, author=instruction.author))
        case i.User():
            return state.with_image(replace(state.image, user=expand(instruction.name)))
        case i.Cmd() | i.Entrypoint() | i.Shell() | i.HealthcheckInstruction():
            return _apply_command(state, instruction)
        case i.Expose() | i.Volume() | i.StopSignal() | i.Onbuild():
            return _apply_metadata(state, instruction)


def _apply_command(
    state: State, instruction: i.Cmd | i.Entrypoint | i.Shell | i.HealthcheckInstruction
) -> State:
    match instruction:
        case i.Cmd():
            after = state.with_image(
                replace(state.image, cmd=command_argv(state, instruction.command))
            )
            return replace(after, has_cmd=True)
        case i.Entrypoint():
            argv = command_argv(state, instruction.command) or None
            after = state.with_image(replace(state.image, entrypoint=argv))
            return after if state.has_cmd else after.with_image(replace(after.image, cmd=None))
        case i.Shell():
            return state.with_image(replace(state.image, shell=instruction.words))
        case i.HealthcheckInstruction():
            return state.with_image(replace(state.image, healthcheck=instruction.check))


def _apply_metadata(
    state: State, instruction: i.Expose | i.Volume | i.StopSignal | i.Onbuild
) -> State:
    image = state.image
    match instruction:
        case i.Expose():
            ports = _ports(state, instruction)
            return state.with_image(
                replace(state.image, exposed_ports=_merge_unique(image.exposed_ports, ports))
            )
        case i.Volume():
            paths = tuple(map(state.expand, instruction.paths))
            return state.with_image(
                replace(state.image, volumes=_merge_unique(image.volumes, paths))
            )
        case i.StopSignal():
            name = state.expand(instruction.signal)
            _check_signal(name)
            return state.with_image(replace(state.image, stop_signal=name))
        case i.Onbuild():
            return state.with_image(
                replace(state.image, onbuild=(*image.onbuild, instruction.trigger))
            )


def command_argv(state: State, command: i.Command) -> tuple[str, ...]:
    """The argv of a command; the shell form is one argument of the shell."""
    if not command.shell:
        return command.words
    return (*state.shell, " ".join(command.words))


def workdir_after(state: State, path: str) -> str:
    """The working directory that a WORKDIR leads to."""
    absolute = posixpath.normpath(posixpath.join("/", state.image.workdir, path))
    return "/" + absolute.lstrip("/")


def finish_container(state: State, call: Call) -> Container:
    """The container with the image's configuration, as the Dagger engine combines them."""
    image, container = state.image, state.container
    if image.user:
        container = fields.with_user(container, call, name=image.user)
    if image.workdir:
        container = fields.with_workdir(container, call, path=image.workdir)
    for name, value in image.env:
        container = fields.with_env_variable(container, call, name=name, value=value)
    for name, value in sorted(image.labels):
        container = fields.with_label(container, call, name=name, value=value)
    for text in sorted(image.exposed_ports):
        number, _, protocol = text.partition("/")
        container = fields.with_exposed_port(
            container, call, port=int(number), protocol=protocol.upper() or "TCP"
        )
    return fields.with_config(
        _with_commands(state, container, call),
        healthcheck=image.healthcheck,
        onbuild=image.onbuild,
        shell=image.shell,
        volumes=image.volumes,
        stop_signal=image.stop_signal,
        author=image.author,
        platform=image.platform,
    )


def _with_commands(state: State, container: Container, call: Call) -> Container:
    image = state.image
    if image.entrypoint is None:
        container = fields.without_entrypoint(container, call, keep_default_args=True)
    else:
        container = fields.with_entrypoint(
            container, call, args=list(image.entrypoint), keep_default_args=True
        )
    if image.cmd is None:
        return fields.without_default_args(container, call)
    return fields.with_default_args(container, call, args=list(image.cmd))


def _ports(state: State, instruction: i.Expose) -> tuple[str, ...]:
    found: list[str] = []
    for text in instruction.ports:
        for word in expand_words(text, state.variables, escape=state.escape):
            found += _port_range(word)
    return tuple(found)


def _port_range(word: str) -> list[str]:
    numbers, _, protocol = word.rpartition(":")[2].partition("/")
    protocol = protocol.lower() or "tcp"
    match = _PORT.fullmatch(numbers)
    if match is None:
        message = f"invalid containerPort: {numbers}"
        raise QueryError(message)
    if protocol not in _PROTOCOLS:
        message = f"invalid proto: {protocol}"
        raise QueryError(message)
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first or last > _LAST_PORT:
        message = f"invalid containerPort: {numbers}"
        raise QueryError(message)
    return [f"{number}/{protocol}" for number in range(first, last + 1)]


def _merge_unique(old: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*old, *new)))


def _check_signal(text: str) -> None:
    name = text.upper().removeprefix("SIG")
    known = {known.name.removeprefix("SIG") for known in signal.Signals}
    numbered = re.fullmatch(r"RTM(?:IN(?:\+[0-9]+)?|AX(?:-[0-9]+)?)", name)
    if name not in known and numbered is None and not (name.isdigit() and 0 < int(name) <= 64):
        message = f"invalid signal: {text}"
        raise QueryError(message)
