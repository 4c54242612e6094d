"""The flags that every command knows, and those of `call`, `functions` and `core`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.cli.flags import Flag, FlagSet, parse_bool, parse_int, parse_list
from layerline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROGRESS = ("auto", "plain", "tty", "dots", "logs", "report")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line as a whole asks for."""

    silent: bool
    quiet: int
    verbose: int
    debug: bool
    progress: str
    interactive: bool
    interactive_command: str
    apply: bool
    stay: bool
    workdir: str
    help: bool
    module: str | None
    output: str
    json: bool

    @classmethod
    def of(cls, words: Sequence[str]) -> Options:
        """Read the flags wherever they stand; unknown ones are somebody else's."""
        seen = _Scan(FlagSet((global_flags(), module_flags())))
        seen.take(words)
        progress = str(seen.value("progress") or "auto")
        if progress not in _PROGRESS:
            message = f"unknown progress type {progress!r}: choose one of {', '.join(_PROGRESS)}"
            raise UsageError(message)
        return cls(
            silent=bool(seen.value("silent")),
            quiet=int(seen.value("quiet") or 0),
            verbose=int(seen.value("verbose") or 0),
            debug=bool(seen.value("debug")),
            progress=progress,
            interactive=bool(seen.value("interactive")),
            interactive_command=str(seen.value("interactive-command") or "/bin/sh"),
            apply=bool(seen.value("auto-apply")),
            stay=bool(seen.value("no-exit")),
            workdir=str(seen.value("workdir") or ""),
            help=bool(seen.value("help")),
            module=str(seen.value("mod")) if seen.value("mod") else None,
            output=str(seen.value("output") or ""),
            json=bool(seen.value("json")),
        )


def global_flags(options: Options | None = None) -> FlagSet:
    """The flags of every command; help shows what was chosen already as their defaults."""
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
    )
    _switch(flags, "no-exit", "E", "Leave the TUI running after completion")
    progress = options.progress if options else "auto"
    _text(flags, "progress", "Progress output format (auto, plain, tty, dots, logs)", progress)
    reduce = "Reduce verbosity (show progress, but clean up at the end)"
    _count(flags, "quiet", "q", reduce, options.quiet if options else 0)
    silent = _switch(flags, "silent", "s", "Do not show progress at all")
    silent.default = "true" if options and options.silent else "false"
    increase = "Increase verbosity (use -vv or -vvv for more)"
    _count(flags, "verbose", "v", increase, options.verbose if options else 0)
    _switch(flags, "web", "w", "Open trace URL in a web browser")
    _text(flags, "x-release", "Run an experimental release from a Dagger git ref")
    _text(flags, "workdir", "Change the working directory").hidden = True
    _switch(flags, "help", "h", "Show help").hidden = True
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
    )
    _switch(flags, "eager-runtime", "", "load module runtime eagerly")
    output_flags(flags)
    where = (
        "Module reference to load, either a local path or a remote git repo (defaults to current "
        "directory)"
    )
    _text(flags, "mod", where, short="m")
    without = "Don't automatically load a module (mutually exclusive with --mod)"
    _switch(flags, "no-mod", "M", without)
    return flags


def output_flags(flags: FlagSet) -> FlagSet:
    """The flags that say what becomes of a result."""
    _switch(flags, "json", "j", "Present result as JSON")
    _text(flags, "output", "Save the result to a local file or directory", short="o")
    return flags


class _Scan:
    """A first look at the words: known flags are read, everything else is passed over."""

    def __init__(self, flags: FlagSet) -> None:
        self.flags = flags

    def value(self, name: str) -> str | int | None:
        flag = self.flags.find(name)
        value: str | int | None = flag.value if flag is not None else None
        return value

    def take(self, words: Sequence[str]) -> None:
        rest = list(words)
        while rest and rest[0] != "--":
            word = rest.pop(0)
            if word.startswith("-") and word != "-" and self._knows(word):
                self.flags.take(word, rest)

    def _knows(self, word: str) -> bool:
        if word.startswith("--"):
            return self.flags.find(word[2:].partition("=")[0]) is not None
        return self.flags.by_letter(word[1]) is not None


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
