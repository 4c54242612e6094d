"""Image tests: test programs in a container, next to the services that they test.

A test whose inputs have not changed is not run again; a failed one is never cached.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import ParseError

import dagger
from dagger import dag

from ci.modules import junit
from ci.modules.programs import program
from layerline.pipeline.environment import PYTHON

PLACE = "/mnt/image-tests"
PACKAGE = "ci/image_tests"
_TESTS = Path(__file__).parents[1] / "image_tests"
_ALWAYS = ("conftest.py", "supervised.py")


class ImageTestFailed(Exception):
    """Tests failed; what they and the services said is the message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTestResult:
    """What an image test found: `said` for people, `xml` as JUnit; `seconds` are this call's."""

    name: str
    passed: bool
    xml: str
    said: str
    seconds: float

    def text(self) -> str:
        """The tests with their times."""
        return junit.summary(self.name, self.xml, seconds=self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTest:
    """A test program, and the container and services that it is run with.

    `program` is one of `ci/image_tests`, with `beside` as further files, or else a path in the
    container. With `alone` the container's user runs it without any network.
    """

    name: str
    container: dagger.Container
    program: str
    beside: tuple[str, ...] = ()
    services: Mapping[str, dagger.Service] = field(default_factory=dict)
    alone: bool = False

    async def result(self, *, fresh: str) -> ImageTestResult:
        """Run the tests; `fresh` is a text whose change makes them run again."""
        began = time.monotonic()
        try:
            done = await (await self._started(fresh)).sync()
            xml, said, passed = await done.stdout(), await done.stderr(), True
        except dagger.ExecError as exc:
            xml, said, passed = exc.stdout, exc.stderr, False
            _require_xml(exc)
        seconds = time.monotonic() - began
        return ImageTestResult(name=self.name, passed=passed, xml=xml, said=said, seconds=seconds)

    async def _started(self, fresh: str) -> dagger.Container:
        container = self._placed()
        if fresh:
            container = container.with_env_variable("TEST_RUN", fresh)
        words = ["sh", "-c", program("pytest.sh"), PYTHON, self._path]
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
    """The texts of the programs in `ci/image_tests`, by their names."""
    return {path.name: path.read_text() for path in _TESTS.glob("*.py")}


def _require_xml(failure: dagger.ExecError) -> None:
    """Tests that could not even be run are no result."""
    try:
        junit.cases(failure.stdout)
    except ParseError:
        raise failure from None


def render_results(results: Sequence[ImageTestResult], *, xml: bool) -> str:
    """All results as a text for a reader, or as one document of XML; a failure is an error there.

    The XML is given either way: whoever asks for it looks into it.
    """
    if xml:
        return junit.joined([result.xml for result in results])
    text = "".join(result.text() for result in results)
    if failed := [result for result in results if not result.passed]:
        raise ImageTestFailed("\n".join([*(result.said for result in failed), text]))
    return text
