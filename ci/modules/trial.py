"""Trials: test programs in a container, beside the images that they are about.

A trial whose inputs have not changed is not run again; one that failed is never remembered.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import ParseError

import dagger
from dagger import dag

from ci.modules import junit
from ci.modules.environment import PYTHON, program

PLACE = "/mnt/trials"
PACKAGE = "ci/trials"
_TRIALS = Path(__file__).parents[1] / "trials"
_ALWAYS = ("conftest.py", "keeping.py")


class TrialFailed(Exception):
    """Tests failed; what they and the services said is the message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a trial found. `said` is for a reader, `xml` for programs; `seconds` of this call."""

    name: str
    passed: bool
    xml: str
    said: str
    seconds: float

    def text(self) -> str:
        """The tests with their times."""
        return junit.summary(self.name, self.xml, seconds=self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A test program, and the container and services that it is run with.

    It is one of `ci/trials`, with `beside` as further files; or a path in the container, if there
    is none of that name. With `alone` the container's user runs it without any network.
    """

    name: str
    container: dagger.Container
    program: str
    beside: tuple[str, ...] = ()
    services: Mapping[str, dagger.Service] = field(default_factory=dict)
    alone: bool = False

    async def verdict(self, *, fresh: str) -> Verdict:
        """Run the tests; `fresh` is a text whose change makes them run again."""
        began = time.monotonic()
        try:
            done = await (await self._started(fresh)).sync()
            xml, said, passed = await done.stdout(), await done.stderr(), True
        except dagger.ExecError as exc:
            xml, said, passed = exc.stdout, exc.stderr, False
            _require_xml(exc)
        seconds = time.monotonic() - began
        return Verdict(name=self.name, passed=passed, xml=xml, said=said, seconds=seconds)

    async def _started(self, fresh: str) -> dagger.Container:
        container = self._placed()
        if fresh:
            container = container.with_env_variable("TRIAL", fresh)
        words = ["sh", "-c", program("trial.sh"), PYTHON, self._path]
        if not self.alone:
            return container.with_exec(words)
        offline = ["unshare", "--net", "--", "python3", "-c", program("offline.py")]
        return container.with_user("root").with_exec(
            [*offline, await self.container.user(), *words], insecure_root_capabilities=True
        )

    @property
    def _own(self) -> bool:
        return self.program in programs()

    @property
    def _path(self) -> str:
        return f"{PACKAGE}/{self.program}" if self._own else self.program

    def _placed(self) -> dagger.Container:
        container = self.container
        if self._own:
            files, texts = dag.directory(), programs()
            for name in (*_ALWAYS, self.program, *self.beside):
                files = files.with_new_file(f"{PACKAGE}/{name}", texts[name])
            container = container.with_mounted_directory(PLACE, files).with_workdir(PLACE)
        for alias, service in self.services.items():
            container = container.with_service_binding(alias, service)
        return container


def programs() -> dict[str, str]:
    """The texts of the programs in `ci/trials`, by their names."""
    return {path.name: path.read_text() for path in _TRIALS.glob("*.py")}


def _require_xml(failure: dagger.ExecError) -> None:
    """Tests that could not even be run are no verdict."""
    try:
        junit.cases(failure.stdout)
    except ParseError:
        raise failure from None


def told(verdicts: Sequence[Verdict], *, xml: bool) -> str:
    """All verdicts as a text for a reader, or as one document of XML; a failure is an error there.

    The XML is given either way: whoever asks for it looks into it.
    """
    if xml:
        return junit.joined([verdict.xml for verdict in verdicts])
    text = "".join(verdict.text() for verdict in verdicts)
    if failed := [verdict for verdict in verdicts if not verdict.passed]:
        raise TrialFailed("\n".join([*(verdict.said for verdict in failed), text]))
    return text
