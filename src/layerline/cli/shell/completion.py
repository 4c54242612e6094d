"""What can come next on a line of a script: functions of what a pipeline gives, their flags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerline.cli.chain.arguments import is_required
from layerline.cli.chain.parser import constructor_of
from layerline.cli.shell.binding import flag_name
from layerline.cli.shell.commands import COMMANDS, PROMOTED
from layerline.cli.shell.grammar import (
    AndOr,
    Case,
    For,
    FunctionDefinition,
    Group,
    If,
    Loop,
    Pipeline,
    Quoted,
    Script,
    ShellSyntaxError,
    Simple,
    Statement,
    Substitution,
)
from layerline.cli.shell.modules import CORE
from layerline.cli.shell.parser import parse_script
from layerline.cli.shell.states import State
from layerline.engine.module.naming import kebab
from layerline.errors import LayerlineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.cli.shell.grammar import Command, Part
    from layerline.cli.shell.handler import Handler
    from layerline.engine.module.types import Member

_UNDER_CURSOR = "completionsstandhere"
# What a text may lack at its end.
_CLOSINGS = ("", ")", '"', "'", ')"', "))", "; }", "; done", "; fi", "; esac", ')"; done')


def completions(handler: Handler, line: str) -> list[str]:
    """The words that can take the place of the one that the line ends in."""
    begin = max(line.rfind(char) for char in " \t\n|;&(") + 1
    prefix = line[begin:]
    stages = _stages(line[:begin] + _UNDER_CURSOR)
    if not stages:
        return []
    try:
        found = _candidates(handler, stages, prefix)
    except LayerlineError:
        return []
    return sorted({word for word in found if word.startswith(prefix)})


def _stages(text: str) -> list[list[str]]:
    """The words of the pipeline that the text ends in, up to the one under the cursor."""
    for closing in _CLOSINGS:
        try:
            script = parse_script(text + closing)
        except ShellSyntaxError:
            continue
        return _in_script(script)
    return []


def _in_script(script: Script) -> list[list[str]]:
    """The stages of the innermost pipeline with the cursor; none where it is elsewhere."""
    return next(filter(None, map(_in_statement, script.statements)), [])


def _in_statement(statement: Statement) -> list[list[str]]:
    command = statement.command
    if isinstance(command, Simple):
        return _in_simple(command)
    if isinstance(command, Pipeline):
        before: list[list[str]] = []
        for stage in command.stages:
            if found := _in_statement(stage):
                own = isinstance(stage.command, Simple) and _holds(stage.command)
                return [*before, *found] if own else found
            before.append(_words(stage))
        return []
    if isinstance(command, AndOr):
        return _in_statement(command.left) or _in_statement(command.right)
    return next(filter(None, map(_in_script, _bodies(command))), [])


def _bodies(command: Command) -> list[Script]:
    """The scripts inside a compound command."""
    match command:
        case Group(body) | For(body=body):
            return [body]
        case Loop(condition, body):
            return [condition, body]
        case If(branches):
            return [script for pair in branches for script in pair if script is not None]
        case Case(items=items):
            return [script for _, script in items]
        case FunctionDefinition(body=body):
            return [Script((body,))]
        case _:
            return []


def _in_simple(command: Simple) -> list[list[str]]:
    words = [*(word for _, word in command.assignments), *command.words]
    for part in (part for word in words for part in _parts(word.parts)):
        if isinstance(part, Substitution) and (found := _in_script(part.script)):
            return found
    return [[word.literal or "" for word in command.words]] if _holds(command) else []


def _holds(command: Simple) -> bool:
    """Whether the word under the cursor is one of a command's own."""
    return any(_UNDER_CURSOR in (word.literal or "") for word in command.words)


def _parts(parts: tuple[Part, ...]) -> Iterator[Part]:
    for part in parts:
        if isinstance(part, Quoted):
            yield from _parts(part.parts)
        else:
            yield part


def _words(stage: Statement) -> list[str]:
    if not isinstance(stage.command, Simple):
        return [""]
    return [word.literal or "" for word in stage.command.words]


def _candidates(handler: Handler, stages: list[list[str]], prefix: str) -> list[str]:
    *before, last = stages
    state = None
    for words in before:
        state = _state_after(handler, state, words[0])
    if len(last) == 1:
        return _functions(handler, state)
    if not prefix.startswith("-"):
        return []
    member = _member(handler, state, last[0])
    return [f"--{flag_name(a)}" for a in member.function.args if not is_required(a)]


def _functions(handler: Handler, state: State | None) -> list[str]:
    if state is not None:
        members = state.target.types.members(state.type_def)
        return [*(m.command for m in members), *(c.name for c in COMMANDS if c.piped)]
    return [
        *(member.command for member in handler.own_functions()),
        *(kebab(each.name) for each in handler.dependencies()),
        *PROMOTED,
        *(command.name for command in COMMANDS),
    ]


def _member(handler: Handler, state: State | None, name: str) -> Member:
    """The function of a name, without loading anything that is not loaded yet."""
    if state is not None:
        return state.next_member(name)
    return handler.own_function(name) or State(target=CORE).next_member(name)


def _state_after(handler: Handler, state: State | None, name: str) -> State:
    if state is not None:
        return state.then(state.next_member(name), {})
    own = handler.own_function(name)
    if own is not None:
        return State(target=handler.place.target).then(own, {})
    for each in handler.dependencies():
        if name in (each.name, kebab(each.name)) and each.module.digest in handler.modules.known:
            target = handler.modules.known[each.module.digest]
            return State(target=target).then(constructor_of(target.types), {})
    core = State(target=CORE)
    return core.then(core.next_member(name), {})
