"""The flags that every command knows, and those of `call`, `functions` and `core`."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.cli.flags import BadValue, Flag, FlagSet, parse_bool, parse_int, parse_list
from layerline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_NO_TRACES = "no traces leave this machine; the full log of a call is in the store's logs directory"
_NO_RELEASES = "the engine is part of this program; install the release of Layerline that you want"
_NO_LLM = "the embedded engine has no language models"
_PROGRESS = ("auto", "plain", "tty", "dots", "logs", "report", "json")
_FULL_VERBOSITY = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the global flags of a command line ask for."""

    silent: bool
    verbosity: int
    progress: str
    interactive: bool
    interactive_command: str
    apply: bool
    stay: bool
    workdir: str
    help: bool
    module: str | None
    no_module: bool
    eager: bool
    output: str
    json: bool

    @classmethod
    def scan(cls, argv: Sequence[str]) -> Options:
        """Scan a command line for flags, wherever they stand; those of commands are left out.

        What looks like a flag may be another flag's value: `from_flags` decides in the end.
        """
        flags = FlagSet((global_flags(), module_flags()))
        rest = list(argv)
        while rest and rest[0] != "--":
            arg = rest.pop(0)
            if arg.startswith("-") and arg != "-" and _knows(flags, arg):
                with suppress(UsageError):  # the command reports it
                    flags.take(arg, rest)
        return cls.from_flags(flags)

    @classmethod
    def from_flags(cls, flags: FlagSet) -> Options:
        """The options that flags hold once the command line was parsed with them."""

        def value(name: str) -> str | int | None:
            flag = flags.find(name)
            found: str | int | None = flag.value if flag is not None else None
            return found

        interactive = bool(value("interactive"))
        if value("interactive-command") and not interactive:
            message = "--interactive-command has no effect without --interactive (-i): add it"
            raise UsageError(message)
        level = int(value("verbose") or 0) - int(value("quiet") or 0)
        return cls(
            silent=bool(value("silent")),
            verbosity=_FULL_VERBOSITY if value("debug") else level,
            progress=str(value("progress") or "auto"),
            interactive=interactive,
            interactive_command=str(value("interactive-command") or "/bin/sh"),
            apply=bool(value("auto-apply")),
            stay=bool(value("no-exit")),
            workdir=str(value("workdir") or ""),
            help=bool(value("help")),
            module=str(value("mod")) if value("mod") else None,
            no_module=bool(value("no-mod")),
            eager=bool(value("eager-runtime")),
            output=str(value("output") or ""),
            json=bool(value("json")),
        )


def _knows(flags: FlagSet, arg: str) -> bool:
    if arg.startswith("--"):
        return flags.find(arg[2:].partition("=")[0]) is not None
    return flags.by_letter(arg[1]) is not None


def global_flags(options: Options | None = None) -> FlagSet:
    """The flags of every command; help shows the chosen values as their defaults."""
    flags = FlagSet()
    _switch(flags, "auto-apply", "y", "Automatically apply changes when a changeset is returned")
    _switch(flags, "debug", "d", "Show debug logs and full verbosity")
    _switch(flags, "interactive", "i", "Spawn a terminal on container exec failure")
    command = options.interactive_command if options else "/bin/sh"
    _text(flags, "interactive-command", "Change the default command for interactive mode", command)
    _text(
        flags,
        "lock",
        "Lock lookup mode (disabled, live, pinned, frozen). Defaults to disabled.",
    ).parse = _lock_mode
    _switch(flags, "no-exit", "E", "Leave the TUI running after completion")
    progress = options.progress if options else "auto"
    formats = "Progress output format (auto, plain, tty, dots, logs)"
    _text(flags, "progress", formats, progress).parse = _progress
    reduce = "Reduce verbosity (show progress, but clean up at the end)"
    verbosity = options.verbosity if options else 0
    _count(flags, "quiet", "q", reduce, max(0, -verbosity))
    silent = _switch(flags, "silent", "s", "Do not show progress at all")
    silent.default = "true" if options and options.silent else "false"
    increase = "Increase verbosity (use -vv or -vvv for more)"
    _count(flags, "verbose", "v", increase, max(0, verbosity))
    _switch(flags, "web", "w", "Open trace URL in a web browser").refusal = _NO_TRACES
    release = "Run an experimental release from a Dagger git ref"
    _text(flags, "x-release", release).refusal = _NO_RELEASES
    _text(flags, "workdir", "Change the working directory").hidden = True
    _switch(flags, "help", "h", "Show help").hidden = True
    # Dagger has no such flags, and its help is ours.
    where = "Share results in a registry (HOST/REPOSITORY; several with commas, to read from)"
    _text(flags, "cache", where).hidden = True
    _switch(flags, "no-wait", "", "End without sending what is left to the cache").hidden = True
    return flags


def module_flags() -> FlagSet:
    """The flags of the commands that call functions."""
    flags = FlagSet()
    llm = (
        "List of URLs of remote modules allowed to access LLM APIs, or 'all' to bypass "
        "restrictions for the entire session"
    )
    flags.add(
        Flag(name="allow-llm", kind="stringSlice", parse=parse_list(str), usage=llm, repeated=True)
    ).refusal = _NO_LLM
    _switch(flags, "eager-runtime", "", "load module runtime eagerly")
    output_flags(flags)
    reference_flags(flags)
    return flags


def reference_flags(flags: FlagSet) -> FlagSet:
    """Add the flags that say which module a command loads."""
    where = (
        "Module reference to load, either a local path or a remote git repo (defaults to current "
        "directory)"
    )
    _text(flags, "mod", where, short="m")
    without = "Don't automatically load a module (mutually exclusive with --mod)"
    _switch(flags, "no-mod", "M", without)
    return flags


def output_flags(flags: FlagSet) -> FlagSet:
    """The flags for the output of a result."""
    _switch(flags, "json", "j", "Present result as JSON")
    _text(flags, "output", "Save the result to a local file or directory", short="o")
    return flags


def _lock_mode(text: str) -> str:
    if text not in ("", "disabled"):
        message = "the embedded engine keeps no lock file: leave it out, or use disabled"
        raise BadValue(message)
    return text


def _progress(text: str) -> str:
    if text not in _PROGRESS:
        message = f"choose one of {', '.join(_PROGRESS)}"
        raise BadValue(message)
    return text


def _switch(flags: FlagSet, name: str, short: str, usage: str) -> Flag:
    return flags.add(
        Flag(name=name, short=short, kind="bool", parse=parse_bool, usage=usage, bare="true")
    )


def _text(flags: FlagSet, name: str, usage: str, default: str = "", *, short: str = "") -> Flag:
    return flags.add(
        Flag(name=name, short=short, kind="string", parse=str, usage=usage, default=default)
    )


def _count(flags: FlagSet, name: str, short: str, usage: str, default: int) -> Flag:
    return flags.add(
        Flag(
            name=name,
            short=short,
            kind="count",
            parse=lambda text: 1 if text == "+1" else parse_int(text),
            usage=usage,
            bare="+1",
            default=str(default),
        )
    )
