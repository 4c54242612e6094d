"""The utilities that a shell has built in; a script calls them with `_` or `.` before the name.

Those that change the shell itself are among them, and those that scripts cannot do without.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.cli.shell.grammar import ShellSyntaxError
from layerline.cli.shell.parser import parse_script
from layerline.cli.shell.scope import (
    ERREXIT,
    NOUNSET,
    PIPEFAIL,
    ExitShell,
    LeaveLoop,
    ReturnFromFunction,
    Status,
)
from layerline.errors import LayerlineError
from layerline.text_file import read_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from layerline.cli.shell.interpreter import Interpreter
    from layerline.cli.shell.scope import Scope, Streams

    Utility = Callable[[Interpreter, list[str], Scope, Streams], Awaitable[Status]]

# What https://pkg.go.dev/mvdan.cc/sh/v3/interp#IsBuiltin knows, with which Dagger runs scripts.
NAMES = frozenset(
    {
        *("true", ":", "false", "exit", "set", "shift", "unset", "echo", "printf", "break"),
        *("continue", "pwd", "cd", "wait", "builtin", "trap", "type", "source", ".", "command"),
        *("dirs", "pushd", "popd", "umask", "alias", "unalias", "fg", "bg", "getopts", "eval"),
        *("test", "[", "exec", "return", "read", "mapfile", "readarray", "shopt"),
    }
)
_LONGEST_COMPARISON = 3
_LETTERS = {"e": ERREXIT, "u": NOUNSET}
_OPTIONS = frozenset({ERREXIT, NOUNSET, PIPEFAIL})
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_ESCAPE = re.compile(r"\\(?:([abfnrtv\\])|0?([0-7]{1,3})|(c))")
_DIRECTIVE = re.compile(r"%([-+ 0#]*\d*(?:\.\d+)?)([diouxXeEfFgGcsb%])")


async def run_utility(
    interpreter: Interpreter, argv: list[str], scope: Scope, streams: Streams
) -> Status:
    """Run a utility of NAMES."""
    utility = _UTILITIES.get(argv[0])
    if utility is None:
        message = f"the utility {argv[0]!r} is not supported in scripts"
        raise LayerlineError(message)
    return await utility(interpreter, argv, scope, streams)


async def _true(_: Interpreter, argv: list[str], *__: object) -> Status:
    return Status(int(argv[0] == "false"))


async def _echo(_: Interpreter, argv: list[str], __: Scope, streams: Streams) -> Status:
    arguments, newline, escapes = argv[1:], "\n", False
    while arguments and arguments[0] in ("-n", "-e", "-E"):
        newline = "" if arguments[0] == "-n" else newline
        escapes = arguments[0] == "-e" or (escapes and arguments[0] == "-n")
        del arguments[0]
    text = " ".join(arguments)
    await streams.stdout.write((_unescape(text) if escapes else text) + newline)
    return Status()


async def _printf(_: Interpreter, argv: list[str], __: Scope, streams: Streams) -> Status:
    if len(argv) == 1:
        message = "usage: printf format [arguments]"
        raise LayerlineError(message)
    form, arguments = _unescape(argv[1]), argv[2:]
    text = ""
    while True:
        given = len(arguments)
        text += _DIRECTIVE.sub(lambda match: _converted(match, arguments), form)
        if not arguments or len(arguments) == given:
            break
    await streams.stdout.write(text)
    return Status()


def _converted(match: re.Match[str], arguments: list[str]) -> str:
    flags, letter = match[1], match[2]
    if letter == "%":
        return "%"
    argument = arguments.pop(0) if arguments else ""
    try:
        if letter in "diouxX":
            return f"%{flags}{letter}" % int(argument or "0", 0)
        if letter in "eEfFgG":
            return f"%{flags}{letter}" % float(argument or "0")
    except ValueError as exc:
        message = f"invalid number: {argument!r}"
        raise LayerlineError(message) from exc
    if letter == "c":
        argument = argument[:1]
    return f"%{flags}s" % (_unescape(argument) if letter == "b" else argument)


def _unescape(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        if match[1]:
            return _ESCAPES.get(match[1], match[1])
        return chr(int(match[2], 8) & 0xFF) if match[2] else ""

    return _ESCAPE.sub(one, text)


async def _set(_: Interpreter, argv: list[str], scope: Scope, __: Streams) -> Status:
    arguments = argv[1:]
    while arguments and arguments[0][:1] in ("-", "+") and len(arguments[0]) > 1:
        given = arguments.pop(0)
        if given == "--":
            scope.arguments = arguments
            return Status()
        names = [_LETTERS.get(letter, letter) for letter in given[1:]]
        if given[1:] == "o":
            names = [arguments.pop(0)] if arguments else []
        unknown = [name for name in names if name not in _OPTIONS]
        if unknown:
            message = f"set: invalid option: {given if given[1:] != 'o' else unknown[0]!r}"
            raise LayerlineError(message)
        kept = scope.options - set(names)
        scope.options = kept | set(names) if given[0] == "-" else kept
    if arguments:
        scope.arguments = arguments
    return Status()


async def _shift(_: Interpreter, argv: list[str], scope: Scope, __: Streams) -> Status:
    count = _number(argv, 1)
    if count > len(scope.arguments):
        return Status(1)
    del scope.arguments[:count]
    return Status()


async def _unset(_: Interpreter, argv: list[str], scope: Scope, __: Streams) -> Status:
    names = [name for name in argv[1:] if name not in ("-v", "-f")]
    for name in names:
        if "-f" not in argv and name in scope.variables:
            del scope.variables[name]
        elif "-v" not in argv:
            scope.functions.pop(name, None)
    return Status()


async def _exit(_: Interpreter, argv: list[str], scope: Scope, __: Streams) -> Status:
    if len(argv) == 1:
        raise ExitShell(Status(scope.status.code), asked=True)
    raise ExitShell(Status(_number(argv, 0) & 0xFF), asked=True)


async def _leave_loop(_: Interpreter, argv: list[str], *__: object) -> Status:
    raise LeaveLoop(again=argv[0] == "continue", levels=_number(argv, 1))


async def _return(_: Interpreter, argv: list[str], scope: Scope, __: Streams) -> Status:
    raise ReturnFromFunction(_number(argv, scope.status.code))


async def _eval(
    interpreter: Interpreter, argv: list[str], scope: Scope, streams: Streams
) -> Status:
    return await interpreter.script(parse_script(" ".join(argv[1:])), scope, streams)


async def _source(
    interpreter: Interpreter, argv: list[str], scope: Scope, streams: Streams
) -> Status:
    if len(argv) == 1:
        message = f"{argv[0]}: need filename"
        raise LayerlineError(message)
    try:
        text = read_text(interpreter.workdir / argv[1], shown=argv[1])
    except LayerlineError as exc:
        message = f"{argv[0]}: {exc}"
        raise LayerlineError(message) from exc
    return await interpreter.script(parse_script(text, argv[1]), scope, streams)


async def _wait(interpreter: Interpreter, argv: list[str], *_: object) -> Status:
    for job in [] if argv[1:] else interpreter.jobs:
        await job.ended.wait()
    status = Status()
    for name in argv[1:]:
        found = await interpreter.wait(name)
        if found is None:
            message = f"wait: pid {name} is not a child of this shell"
            raise LayerlineError(message)
        status = found
    return status


async def _read(_: Interpreter, argv: list[str], scope: Scope, streams: Streams) -> Status:
    names = [name for name in argv[1:] if name != "-r"] or ["REPLY"]
    line = streams.stdin.line() if streams.stdin is not None else ""
    texts = line.rstrip("\n").strip().split(None, len(names) - 1)
    for place, name in enumerate(names):
        scope.variables[name] = texts[place] if place < len(texts) else ""
    return Status(int(not line))


async def _exec(_: Interpreter, argv: list[str], *__: object) -> Status:
    if len(argv) > 1:
        message = "exec: programs of this machine cannot be run"
        raise LayerlineError(message)
    return Status()


async def _test(_: Interpreter, argv: list[str], *__: object) -> Status:
    arguments = argv[1:]
    if argv[0] == "[" and (not arguments or arguments.pop() != "]"):
        message = "[: missing matching ]"
        raise LayerlineError(message)
    return Status(int(not _holds(arguments)))


def _holds(arguments: list[str]) -> bool:
    """The value of an expression, as POSIX has it; `-a` and `-o` join two."""
    for operator in ("-o", "-a"):
        for place in range(1, len(arguments) - 1):
            if arguments[place] == operator and len(arguments) > _LONGEST_COMPARISON:
                before, after = _holds(arguments[:place]), _holds(arguments[place + 1 :])
                return (before or after) if operator == "-o" else (before and after)
    match arguments:
        case []:
            return False
        case [text]:
            return bool(text)
        case [left, operator, right] if operator in _COMPARISONS:
            return _COMPARISONS[operator](left, right)
        case ["!", *rest]:
            return not _holds(rest)
        case ["(", *rest, ")"]:
            return _holds(rest)
        case [operator, operand] if operator in _CHECKS:
            return _CHECKS[operator](operand)
        case _:
            message = f"not a valid test operator: {arguments[len(arguments) > 2]}"
            raise ShellSyntaxError(message)


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError as exc:
        message = f"not a valid number: {text!r}"
        raise LayerlineError(message) from exc


_COMPARISONS: dict[str, Callable[[str, str], bool]] = {
    "=": lambda left, right: left == right,
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "-eq": lambda left, right: _integer(left) == _integer(right),
    "-ne": lambda left, right: _integer(left) != _integer(right),
    "-lt": lambda left, right: _integer(left) < _integer(right),
    "-le": lambda left, right: _integer(left) <= _integer(right),
    "-gt": lambda left, right: _integer(left) > _integer(right),
    "-ge": lambda left, right: _integer(left) >= _integer(right),
}
_CHECKS: dict[str, Callable[[str], bool]] = {
    "-z": lambda text: not text,
    "-n": bool,
    "-e": lambda text: Path(text).exists(),
    "-f": lambda text: Path(text).is_file(),
    "-d": lambda text: Path(text).is_dir(),
    "-h": lambda text: Path(text).is_symlink(),
    "-L": lambda text: Path(text).is_symlink(),
    "-s": lambda text: Path(text).exists() and Path(text).stat().st_size > 0,
}


def _number(argv: list[str], otherwise: int) -> int:
    if len(argv) == 1:
        return otherwise
    if not argv[1].lstrip("-").isdigit():
        message = f"invalid {argv[0]} status code: {argv[1]!r}"
        raise LayerlineError(message)
    return int(argv[1])


_UTILITIES: dict[str, Utility] = {
    ":": _true,
    "true": _true,
    "false": _true,
    "echo": _echo,
    "printf": _printf,
    "set": _set,
    "shift": _shift,
    "unset": _unset,
    "exit": _exit,
    "break": _leave_loop,
    "continue": _leave_loop,
    "return": _return,
    "eval": _eval,
    ".": _source,
    "source": _source,
    "wait": _wait,
    "read": _read,
    "exec": _exec,
    "test": _test,
    "[": _test,
}
