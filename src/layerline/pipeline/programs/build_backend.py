"""Asks the build backend of a source what its build requires and what its wheel would be.

Backends are code of strangers: each is confined by `sandbox.py`, and reads nothing of the process
that asks. What builds a source has a resolution of its own, of wheels alone, as installing those
runs nothing.

PEP 517 and PEP 660 (the hooks), PEP 643 (metadata in source archives)
"""

import json
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from email.message import Message
from email.parser import HeaderParser
from typing import Any, NamedTuple

from layerline.pipeline.programs import build_wheel
from layerline.pipeline.programs.build_wheel import CONFINED

HOOKS = ("get_requires_for_build_wheel", "get_requires_for_build_editable")
ASK = """
import importlib, json, os, sys, zipfile
backend, asked, output, *paths = sys.argv[1:]
sys.path[:1] = paths
module, _, attributes = backend.partition(":")
found = importlib.import_module(module)
for each in filter(None, attributes.split(".")):
    found = getattr(found, each)
if asked == "metadata" and hasattr(found, "prepare_metadata_for_build_wheel"):
    place = os.path.join(output, found.prepare_metadata_for_build_wheel(output), "METADATA")
    answer = open(place, encoding="utf-8").read()
elif asked == "metadata":
    with zipfile.ZipFile(os.path.join(output, found.build_wheel(output))) as wheel:
        [name] = [each for each in wheel.namelist() if each.endswith(".dist-info/METADATA")]
        answer = wheel.read(name).decode()
else:
    hooks = [hook for hook in asked.split(",") if hasattr(found, hook)]
    answer = [each for hook in hooks for each in getattr(found, hook)()]
print("\\nanswer: " + json.dumps(answer))
"""
ANSWER = "answer: "
INDEX_ARGS = ("--index-url=", "--extra-index-url=", "--find-links=", "--cache-dir=")
FIELDS = ("Requires-Dist", "Requires-Python", "Provides-Extra")


class Source(NamedTuple):
    """What a backend said: the version, what its build requires, and those as pins with hashes.

    `metadata` is an entry of uv's `dependency-metadata`.
    """

    version: str
    requires: list[str]
    pins: str
    metadata: dict[str, Any]


class Tools:
    """Resolves and installs what builds sources, each set of requirements once.

    `uv` is the command that resolves; `flags` are more of it.
    """

    def __init__(self, uv: Sequence[str], flags: Sequence[str]) -> None:
        self.uv = [*uv]
        self.flags = [*flags]
        self.resolved: dict[tuple[str, ...], str] = {}
        self.installed: dict[str, str] = {}

    def resolve(self, name: str, requires: Sequence[str], known: str = "") -> str:
        """The pins of build requirements; those of `known` stay if they fit."""
        wanted = tuple(sorted(requires))
        if wanted and wanted not in self.resolved:
            output = build_wheel.WORK / "builders.txt"
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(known)
            flags = ["--generate-hashes", "--no-annotate", "--no-header", "--only-binary=:all:"]
            flags += ["--no-emit-index-url", "--no-emit-find-links", f"--output-file={output}"]
            said = run_uv([*self.uv, *flags, *self.flags, "-"], "\n".join(wanted))
            if said is not None:
                listed = ", ".join(wanted)
                sys.exit(f"what builds {name} cannot be resolved as wheels ({listed}):\n{said}")
            self.resolved[wanted] = output.read_text()
        return self.resolved.get(wanted, "")

    def install(self, pins: str) -> str:
        """The Python that has build requirements."""
        if pins not in self.installed:
            place = build_wheel.WORK / f"tools-{len(self.installed)}"
            argv = [sys.executable, "-m", "venv", "--clear", "--without-pip", str(place)]
            subprocess.run(argv, check=True)
            python = str(place / "bin" / "python")
            flags = [arg for arg in self.uv if arg.startswith(INDEX_ARGS)]
            flags += [each for each in self.flags if each == "--offline"]
            flags += ["--no-deps", "--require-hashes", "--only-binary=:all:", "--link-mode=copy"]
            argv = [self.uv[0], "pip", "install", "--quiet", f"--python={python}", *flags]
            if pins and (said := run_uv([*argv, "--requirements=-"], pins)) is not None:
                sys.exit(f"what builds a package cannot be installed:\n{said}")
            self.installed[pins] = python
        return self.installed[pins]


def run_uv(argv: Sequence[str], given: str) -> str | None:
    """What uv says if it fails; None otherwise."""
    done = subprocess.run([*argv], input=given, capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else None


def read(
    name: str,
    place: pathlib.Path,
    tools: Tools,
    *,
    given: Sequence[str] = (),
    known: str = "",
    editable: bool = False,
    described: bool = True,
) -> Source:
    """What the source in a directory says, or the archive in it.

    `given` takes the place of its `build-system.requires`, `known` are the pins of before. Without
    `described` the metadata and the version are empty.
    """
    project = build_wheel.unpack(place, build_wheel.WORK / "source")
    system = build_wheel.build_system(project)
    requires = [*(given or system["requires"])]
    pins = tools.resolve(name, requires, known)
    hooks = HOOKS if editable else HOOKS[:1]
    asked = Asked(name, project, system, tools.install(pins))
    more = [each for each in asked.ask(",".join(hooks)) if each not in requires]
    if more:
        requires += more
        pins = tools.resolve(name, requires, known)
        asked = asked._replace(python=tools.install(pins))
    if not described:
        return Source("", requires, pins, {})
    text = confined_text(project / "PKG-INFO")
    fields = HeaderParser().parsestr(text)
    if not is_static(fields):
        fields = HeaderParser().parsestr(asked.ask("metadata"))
    return Source(str(fields["Version"]), requires, pins, entry(name, fields))


def is_static(fields: Message) -> bool:
    """Whether metadata of a source archive is also that of its wheel (PEP 643)."""
    version = str(fields.get("Metadata-Version", "0")).split(".")
    dynamic = {str(each).lower() for each in fields.get_all("Dynamic") or ()}
    numbers = [int(each) for each in version if each.isdigit()]
    return numbers >= [2, 2] and dynamic.isdisjoint(each.lower() for each in (*FIELDS, "Version"))


def entry(name: str, fields: Message) -> dict[str, Any]:
    """An entry of uv's `dependency-metadata`.

    https://docs.astral.sh/uv/reference/settings/#dependency-metadata
    """
    requires_dist, requires_python, extras = (fields.get_all(each) or [] for each in FIELDS)
    python = {"requires-python": str(requires_python[0])} if requires_python else {}
    return {
        "name": name,
        "version": str(fields["Version"]),
        "requires-dist": [str(each) for each in requires_dist],
        **python,
        "provides-extra": [str(each) for each in extras],
    }


def confined_text(path: pathlib.Path) -> str:
    """The text of a file that may be a link to anywhere; empty if strangers cannot read it."""
    argv = [*CONFINED, "cat", str(path)]
    done = subprocess.run(argv, capture_output=True, check=False)
    return done.stdout.decode(errors="replace")


class Asked(NamedTuple):
    """A backend that is asked."""

    name: str
    project: pathlib.Path
    system: dict[str, Any]
    python: str

    def ask(self, what: str) -> Any:  # noqa: ANN401 - a list of requirements, or a text
        """What the backend says; ends with its output and hints if it fails."""
        output, home = build_wheel.fresh_directories()
        argv = [*CONFINED, self.python, "-c", ASK, self.system["build-backend"], what, str(output)]
        argv += [str(self.project / path) for path in self.system.get("backend-path", [])]
        done = subprocess.run(
            argv,
            cwd=self.project,
            env=build_wheel.environment(home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        answers = [line for line in done.stdout.splitlines() if line.startswith(ANSWER)]
        if done.returncode or not answers:
            hints = [text.format(**it.groupdict()) for text, it in build_wheel.matches(done.stdout)]
            heading = f"the build backend of {self.name} fails, which is asked without a network:"
            sys.exit("\n".join([heading, done.stdout.strip(), *dict.fromkeys(hints)]))
        return json.loads(answers[-1].removeprefix(ANSWER))
