"""The context of one invocation: settings, options, output, and its log."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import shutil
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from layerline import host
from layerline.cli.display.earlier_builds import EarlierBuilds
from layerline.cli.display.progress import CallLog, PlainLines, debug_lines, without_terminal
from layerline.cli.display.step_tree import Folded, StepTree
from layerline.cli.display.summary import Summary
from layerline.cli.flags import FlagSet
from layerline.cli.options import Options
from layerline.engine import has_store, write_errors
from layerline.errors import HostError, NoSpace, UsageError
from layerline.log import Journal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from layerline.settings import Settings

_DEBUG_VERBOSITY = 2
_NOTHING = -2
# OpenTelemetry Environment Variable Specification.
_COLLECTORS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
_MARKS = ("layerline.toml", "dagger.json", ".git")
_SUMMARIZED = ("auto", "plain", "tty")


@dataclass(slots=True, kw_only=True)
class Console:
    """One invocation. `flags` are those of every command.

    `log` is None until something begins that is worth a log.
    """

    program: str
    argv: Sequence[str]
    options: Options
    settings: Settings
    flags: FlagSet = field(default_factory=FlagSet)
    journal: Journal = field(default_factory=Journal)
    log: CallLog | None = None

    @property
    def interactive(self) -> list[str]:
        """The argv for a terminal where an exec failed; empty without --interactive."""
        return shlex.split(self.options.interactive_command) if self.options.interactive else []

    @property
    def workdir(self) -> Path:
        """The directory that relative paths start from."""
        return Path.cwd() / self.options.workdir

    def check_workdir(self) -> None:
        """Raise a UsageError where --workdir names no directory; worded as Dagger's."""
        if not self.workdir.is_dir():
            message = (
                f"chdir {self.options.workdir}: no such file or directory: --workdir takes a "
                "directory of this machine"
            )
            raise UsageError(message, usage=self.program)

    def settle(self, *own: FlagSet) -> None:
        """Update the options after all arguments were parsed."""
        self.options = Options.from_flags(FlagSet((self.flags, *own)))
        self.choose_cache()

    def choose_cache(self) -> None:
        """Use the registry cache that the flags name, once they were parsed."""
        places, no_wait = self.flags.flags["cache"], self.flags.flags["no-wait"]
        cache = self.settings.cache.chosen(
            places.value if places.changed else None, waits=not no_wait.value
        )
        self.settings = replace(self.settings, cache=cache)

    def print(self, text: str) -> None:
        """Write a result to stdout."""
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as exc:
            _drop_output()
            message = f"failed to write the result to stdout: {(exc.strerror or '').lower()}"
            kind = NoSpace if exc.errno in (errno.ENOSPC, errno.EDQUOT) else HostError
            raise kind(message) from exc

    def info(self, text: str) -> None:
        """Write a line to stderr and to the log."""
        text = self.journal.masks.mask(text)
        _to_stderr(text + "\n")
        if self.log is not None:
            self.log.write(text + "\n")

    def enter(self) -> None:
        """Open the log and enter the engine's namespaces; call it before importing the engine."""
        if self.log is not None:
            return
        host.become_root()
        self.log = self.begin_log()
        self.log.mask = self.journal.masks.mask
        self.journal.listeners.append(PlainLines(self.log.write))
        host.enter_namespaces(after=_remove_leftovers)

    def begin_log(self) -> CallLog:
        """The log of this invocation, in the store; what is not a store stays as it is."""
        store = self.settings.store
        with write_errors("cannot open the store", store, store=store):
            has_store(store)
            return CallLog.begin(store, " ".join((self.program, *self.argv)))

    @contextlib.contextmanager
    def working(self, *, stay: bool = False) -> Iterator[Journal]:
        """Show progress, as the options say, until the end of the block.

        With `stay` it remains until the user has seen it, if the options say so.
        """
        options = self.options
        live = options.progress == "tty" or (options.progress == "auto" and self._is_live())
        shown = not options.silent and options.verbosity > _NOTHING
        if stay and options.stay and not (live and shown and sys.stdin.isatty()):
            message = "--no-exit (-E) requires progress on a terminal: leave it out here"
            raise UsageError(message)
        tree = StepTree()
        builds = EarlierBuilds(
            path=self.settings.store / "logs" / "builds.json", project=self._project()
        )
        with contextlib.ExitStack() as stack:
            self.journal.listeners.append(tree)
            stack.callback(self.journal.listeners.remove, tree)
            stack.callback(lambda: builds.remember(tree.nodes.values()))
            if shown:
                self._show(stack, tree, live=live)
            if stay and options.stay:
                stack.callback(_wait_for_user)
            self._export_spans(stack)
            yield self.journal
        if options.verbosity >= 0 and options.progress in _SUMMARIZED:
            width = shutil.get_terminal_size().columns if live else None
            summary = Summary(tree=tree, builds=builds, workdir=self.workdir, width=width)
            for line in summary.lines():
                self.info(line)

    def _is_live(self) -> bool:
        """Whether somebody watches a terminal that can be drawn on.

        `CI` is what GitHub, GitLab, CircleCI, Travis and others set.
        """
        environ = self.settings.environ
        is_ci = environ.get("CI", "").strip().lower() not in ("", "0", "false")
        return sys.stderr.isatty() and not is_ci and environ.get("TERM") != "dumb"

    def _project(self) -> str:
        """The directory of the project that a call is about, and the module that is called."""
        around = (self.workdir.resolve(), *self.workdir.resolve().parents)
        marked = (each for each in around if any((each / name).exists() for name in _MARKS))
        return f"{next(marked, around[0])} {self.options.module or ''}".rstrip()

    def _export_spans(self, stack: contextlib.ExitStack) -> None:
        """Send spans to the collector that the user's environment names."""
        environ = self.settings.environ
        if not any(environ.get(name) for name in _COLLECTORS) or _is_disabled(environ):
            return
        chosen = next(filter(None, map(environ.get, _PROTOCOLS)), _PROTOCOL)
        if chosen != _PROTOCOL:
            self.info(f"no spans are exported: {chosen!r} is not supported, use {_PROTOCOL!r}")
            return
        from layerline.cli.display.otlp import SpanExporter

        exporter = SpanExporter(f"{self.program} {next(iter(self.argv), '')}".strip(), environ)
        stack.enter_context(exporter.exporting())
        self.journal.listeners.append(exporter)
        stack.callback(lambda: self.journal.listeners.remove(exporter))

    def _show(self, stack: contextlib.ExitStack, tree: StepTree, *, live: bool) -> None:
        progress, verbosity = self.options.progress, self.options.verbosity
        if live:
            from layerline.cli.display.live import LiveView

            view = LiveView(keeps=verbosity >= 0, outputs=verbosity > 0, tree=tree)
            stack.enter_context(view.showing())
            self.journal.listeners.append(view)
            self.journal.displays.append(view.hidden)
            stack.callback(self.journal.displays.clear)
        else:
            listener = without_terminal(progress, _to_stderr, verbosity)
            folds = verbosity <= 0 and progress in _SUMMARIZED
            self.journal.listeners.append(Folded(listener, tree) if folds else listener)
        stack.callback(self.journal.listeners.pop)
        if verbosity >= _DEBUG_VERBOSITY:
            stack.enter_context(debug_lines())


def _remove_leftovers() -> None:
    """Remove what a session that was killed has left outside of its namespaces and its store."""
    from layerline.engine import sweep_dead_sessions

    sweep_dead_sessions()


def _is_disabled(environ: Mapping[str, str]) -> bool:
    is_off = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return is_off or environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"


def _to_stderr(text: str) -> None:
    """Write progress or an error; a stderr that cannot be written fails no call."""
    with contextlib.suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()


def _drop_output() -> None:
    """Let what stdout still holds go nowhere, so the interpreter does not fail on it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _wait_for_user() -> None:
    sys.stderr.write("Press Enter to exit.\n")
    sys.stdin.readline()
