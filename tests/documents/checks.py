"""Command lines without running them: subcommands, functions, flags, files and keys exist.

A program of somebody else's is asked for its help where it is installed.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import itertools
import re
from importlib import import_module
from typing import TYPE_CHECKING, get_args, get_type_hints

import yaml

from ci.main import Layerline
from layerline import command
from layerline.cli.chain.parser import Parser, Root
from layerline.cli.main import run_command_line
from layerline.cli.options import global_flags, module_flags
from layerline.cli.shell.parser import parse_script
from layerline.engine.module.types import Types, reference
from layerline.errors import LayerlineError, ProgramMissing
from layerline.pipeline.functions import PipelineFunctions
from tests.documents.blocks import HOME

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Commands whose flags argparse parses, and the module that has the parser.
_ARGPARSE = ("cache", "registry", "store", "verify")
_COMMAND_LINE = HOME / "docs/reference/command-line.md"
# https://docs.docker.com/reference/cli/docker/buildx/build/
_OF_BUILDKIT = {"--secret": " list", "--progress": " string"}
_BEFORE = frozenset({"sudo", "time"})
_WITHOUT_PAGE = frozenset({"call", "core", "functions"})


class Wrong(Exception):
    """Why a command line cannot be right."""


def check(words: Sequence[str]) -> bool:
    """Whether there is a check for the program; raises Wrong if a command line is not right."""
    words = list(words)
    while words and words[0] in _BEFORE:
        del words[0]
    name = words[0].rpartition("/")[2] if words else ""
    found = _CHECKS.get(name)
    if found is None:
        return False
    found(words[1:])
    return True


def _layerline(words: Sequence[str]) -> None:
    words = list(words)
    if not words or words[0] == "test" or words[0].endswith(".dsh"):
        return
    if words[0] == "-c":
        parse_script(words[1])
        return
    if words[0].startswith("-") and words != ["--version"]:
        words = _after_global_flags(words)
    name, *rest = words
    if name in _ARGPARSE and rest:
        module = import_module(f"layerline.cli.commands.{name}")
        _parse(module._parser(f"layerline {name}").parse_args, rest)
    elif name in ("call", "core"):
        _chain([] if name == "call" else ["--no-mod"], rest)
    elif name != "--version":
        known = flags_of(_help(name))
        _flags_are_known(rest[: rest.index("--")] if "--" in rest else rest, known | _global())


def _after_global_flags(words: list[str]) -> list[str]:
    try:
        return global_flags().parse(words)
    except LayerlineError:
        return module_flags().parse(words)


def _parse(parse: Callable[[Sequence[str]], object], words: Sequence[str]) -> None:
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            parse(words)
        except SystemExit as exc:
            if exc.code:
                raise Wrong(said.getvalue()) from exc


@functools.cache
def _help(name: str) -> str:
    """The help of a command, of which the reference has the current one for most."""
    page = _COMMAND_LINE.read_text()
    if name in _WITHOUT_PAGE:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            run_command_line([name, "--help"])
        return printed.getvalue()
    found = re.search(rf"^## layerline {re.escape(name)}$(.*?)^## ", page, re.MULTILINE | re.DOTALL)
    if found is None:
        message = f"unknown command {name!r}"
        raise Wrong(message)
    return found[1]


def flags_of(text: str) -> set[str]:
    """The flags that a help names."""
    return set(re.findall(r"(?<![\w-])(--?[\w][\w-]*)", text))


def _global() -> set[str]:
    flags = [*global_flags().flags.values(), *module_flags().flags.values()]
    return {f"--{flag.name}" for flag in flags} | {f"-{flag.short}" for flag in flags if flag.short}


def _flags_are_known(words: Sequence[str], known: set[str]) -> None:
    given = {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"}
    if unknown := given - known:
        message = f"unknown flags {sorted(unknown)}"
        raise Wrong(message)


@functools.cache
def functions() -> dict[str, tuple[set[str], str]]:
    """The flags of each function and the type that it gives; under "" those of the module."""
    found = {"": (_flags(Layerline), "")}
    for name, member in _CALLED.items():
        gives = get_type_hints(member).get("return")
        gives = next(iter(get_args(gives)), gives)
        found[name.replace("_", "-")] = (_flags(member), getattr(gives, "__name__", ""))
    return found


def _flags(called: Callable[..., object]) -> set[str]:
    return {_flag(name) for name in inspect.signature(called).parameters if name != "self"}


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def required_flags(words: Sequence[str]) -> set[str]:
    """The flags that a call's first function needs and that its command line does not give."""
    name = next((word.replace("-", "_") for word in words if word.replace("-", "_") in _CALLED), "")
    signature = inspect.signature(_CALLED[name]) if name else inspect.Signature()
    needed = {
        _flag(each.name)
        for each in signature.parameters.values()
        if each.default is inspect.Parameter.empty and each.name != "self"
    }
    return needed - {word.partition("=")[0] for word in words}


_CALLED = {
    name: member
    for place in (PipelineFunctions, Layerline)
    for name, member in inspect.getmembers(place, inspect.isfunction)
    if hasattr(member, "__dagger_function__")
}


@functools.cache
def known_flags() -> set[str]:
    """Every flag of the commands, of all functions, and of this repository's own programs."""
    found = _global() | flags_of(_COMMAND_LINE.read_text())
    found |= {flag for flags, _ in functions().values() for flag in flags}
    programs = ("benchmarks/**/*.py", "src/ct_scan_mlops/**/*.py", "tests/conftest.py")
    for path in (each for pattern in programs for each in HOME.glob(pattern)):
        found |= set(re.findall(r'"(--[\w-]+)"', path.read_text()))
    return found


def _chain(before: Sequence[str], words: Sequence[str]) -> None:
    """A chain of calls: the module's functions by their signatures, what they give by the API."""
    if any(word in ("-m", "--mod") or word.startswith("--mod=") for word in words):
        return  # another module: that which the page has made
    own = [*before, *words]
    if "--no-mod" in own or "-M" in own:
        _core([word for word in own if word not in ("--no-mod", "-M")], "Query")
        return
    rest = _leading_flags(words, functions()[""][0])
    if not rest:
        return
    name, *rest = rest
    if name not in functions():
        message = f"unknown function {name!r}"
        raise Wrong(message)
    flags, gives = functions()[name]
    rest = _leading_flags(rest, flags)
    if rest:
        _core(rest, gives)


def _leading_flags(words: Sequence[str], known: set[str]) -> list[str]:
    rest = list(words)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        _flags_are_known([word], known | _global())
        if word in ("-o", "--output", "-m"):
            rest.pop(0)
    return rest


def _core(words: Sequence[str], of: str) -> None:
    root = Root(
        path="layerline call",
        about="",
        use="",
        type_def=reference(of),
        own=module_flags(),
        inherited=global_flags(),
    )
    try:
        Parser(Types(), root).parse(words)
    except LayerlineError as exc:
        raise Wrong(str(exc)) from exc


@functools.cache
def _program_help(*words: str) -> str:
    """What a program says of itself; empty where it is not installed."""
    try:
        done = command.run([*words], expect=None, timeout=60.0)
    except ProgramMissing:
        return ""
    return (done.stdout + done.stderr).decode(errors="replace")


def _docker(words: Sequence[str]) -> None:
    """Flags up to the image; those with a value take the next word."""
    nested = {"builder", "compose", "image", "system", "volume"}
    depth = 2 if words and words[0] in nested else 1
    if words and words[0] == "compose":
        return  # a plug-in that is not everywhere
    # Help leaves out what the daemon of that version of the API does not have.
    text = _program_help("env", "DOCKER_API_VERSION=1.43", "docker", *words[:depth], "--help")
    takes = dict(re.findall(r"(--[\w-]+)( [\w-]+)?(?: {2,}|\n)", text))
    takes |= _OF_BUILDKIT if takes and words[0] == "build" else {}
    letters = dict(re.findall(r"(-\w), (--[\w-]+)", text))
    rest = list(words[depth:])
    while text and rest and rest[0].startswith("-"):
        flag, equals, _ = rest.pop(0).partition("=")
        flag = letters.get(flag, flag)
        if flag not in takes:
            message = f"unknown flag {flag} of docker {' '.join(words[:depth])}"
            raise Wrong(message)
        if takes[flag] and not equals:
            rest.pop(0)


def _python(words: Sequence[str]) -> None:
    """A module of this repository with its options, which its source declares."""
    if words[:1] != ["-m"] or not re.match(r"benchmarks|ct_scan_mlops|tests|layerline", words[1]):
        return
    stem = words[1].replace(".", "/")
    places = [root / name for root in (HOME, HOME / "src") for name in (f"{stem}.py", stem)]
    place = next((each for each in places if each.exists()), None)
    if place is None:
        message = f"unknown module {words[1]}"
        raise Wrong(message)
    text = (place / "__main__.py" if place.is_dir() else place).read_text()
    given = words[2:] if "--" not in words else words[2 : words.index("--")]
    keys = [word for word in given if re.match(r"[\w.]+=", word)]
    if keys:
        _configuration_has([key.partition("=")[0] for key in keys])
        given = [word for word in given if word not in keys and word != "--multirun"]
    if not place.is_dir() or "add_argument" in text:
        _flags_are_known(
            [word.strip("[]") for word in given], set(re.findall(r'"(--[\w-]+)"', text))
        )


def _configuration_has(keys: Sequence[str]) -> None:
    """Whether the workload's configuration has keys: a group of files, or a key in one."""
    conf = HOME / "src/ct_scan_mlops/training/conf"
    for key in keys:
        group, _, name = key.partition(".")
        if not name and (conf / group).is_dir():
            continue
        files = [*(conf / group).glob("*.yaml")] if name else [conf / "config.yaml"]
        if not any((name or group) in (yaml.safe_load(each.read_text()) or {}) for each in files):
            message = f"no key {key} in the configuration"
            raise Wrong(message)


def _invoke(words: Sequence[str]) -> None:
    """A task of tasks.py and its options; invoke itself is in the images."""
    text = (HOME / "tasks.py").read_text()
    if not words or words[0].startswith("-"):
        return
    name = words[0]
    found = re.search(rf"\ndef {name.replace('-', '_')}\((.*?)\) ->", text, re.DOTALL)
    found = re.search(rf'name="{name}".*?\ndef \w+\((.*?)\) ->', text, re.DOTALL) or found
    if found is None:
        message = f"unknown task {name!r}"
        raise Wrong(message)
    known = {"--" + each.replace("_", "-") for each in re.findall(r"(\w+):", found[1])}
    _flags_are_known(words[1:], known)


def _nox(words: Sequence[str]) -> None:
    text = (HOME / "noxfile.py").read_text()
    sessions = re.findall(r"^def (\w+)\(session", text, re.MULTILINE)
    for flag, name in itertools.pairwise(words):
        if flag in ("-s", "--session") and name not in sessions:
            message = f"unknown session {name!r} of nox"
            raise Wrong(message)


def _pytest(words: Sequence[str]) -> None:
    for word in words:
        if word.startswith("tests/") and not (HOME / word).exists():
            message = f"no {word}"
            raise Wrong(message)


def _helped(program: str, *words: str) -> Callable[[Sequence[str]], None]:
    """A check by the help of a program, where it is installed."""

    def checked(given: Sequence[str]) -> None:
        if text := _program_help(program, *words):
            letters = "".join(re.findall(r"(?<![\w-])-(\w)\b", text))
            known = flags_of(text)
            for word in given:
                if word.startswith("--"):
                    _flags_are_known([word], known)
                elif re.fullmatch(r"-[a-zA-Z]+", word) and (more := set(word[1:]) - set(letters)):
                    message = f"unknown flags {more} of {program}"
                    raise Wrong(message)

    return checked


_CHECKS: dict[str, Callable[[Sequence[str]], None]] = {
    "curl": _helped("curl", "--help", "all"),
    "docker": _docker,
    "invoke": _invoke,
    "jq": _helped("jq", "--help"),
    "layerline": _layerline,
    "nox": _nox,
    "pytest": _pytest,
    "python": _python,
    "python3": _python,
}
