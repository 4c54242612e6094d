"""Image tests: test programs in a container, next to the services that they test.

A test is cached until its inputs change; a failed one is never cached.
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
    """Tests failed; the message is the log of the tests and services."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTestResult:
    """The result of an image test. `xml` is JUnit's; `seconds` are those of this call."""

    name: str
    passed: bool
    xml: str
    log: str
    seconds: float

    def text(self) -> str:
        """The tests with their durations."""
        return junit.summary(self.name, self.xml, seconds=self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTest:
    """A test program, and the container and services that it is run with.

    `program` is a file of `ci/image_tests`, mounted with `extra_files`, or else a path in the
    container. With `alone` the container's user runs it without network access.
    """

    name: str
    container: dagger.Container
    program: str
    extra_files: tuple[str, ...] = ()
    services: Mapping[str, dagger.Service] = field(default_factory=dict)
    alone: bool = False

    async def result(self, *, fresh: str) -> ImageTestResult:
        """Run the tests; `fresh` is a text whose change makes them run again."""
        began = time.monotonic()
        try:
            done = await (await self._execute(fresh)).sync()
            xml, log, passed = await done.stdout(), await done.stderr(), True
        except dagger.ExecError as exc:
            xml, log, passed = exc.stdout, exc.stderr, False
            _require_xml(exc)
        seconds = time.monotonic() - began
        return ImageTestResult(name=self.name, passed=passed, xml=xml, log=log, seconds=seconds)

    async def _execute(self, fresh: str) -> dagger.Container:
        container = self._container_with_tests()
        if fresh:
            container = container.with_env_variable("TEST_RUN", fresh)
        argv = ["sh", "-c", program("pytest.sh"), PYTHON, self._path]
        if not self.alone:
            return container.with_exec(argv)
        offline = ["unshare", "--net", "--", "python3", "-c", program("offline.py")]
        return container.with_user("root").with_exec(
            [*offline, await self.container.user(), *argv], insecure_root_capabilities=True
        )

    @property
    def _own(self) -> bool:
        return self.program in programs()

    @property
    def _path(self) -> str:
        return f"{PACKAGE}/{self.program}" if self._own else self.program

    def _container_with_tests(self) -> dagger.Container:
        container = self.container
        if self._own:
            files, texts = dag.directory(), programs()
            for name in (*_ALWAYS, self.program, *self.extra_files):
                files = files.with_new_file(f"{PACKAGE}/{name}", texts[name])
            container = container.with_mounted_directory(PLACE, files).with_workdir(PLACE)
        for alias, service in self.services.items():
            container = container.with_service_binding(alias, service)
        return container


def programs() -> dict[str, str]:
    """The texts of the programs in `ci/image_tests`, by their names."""
    return {path.name: path.read_text() for path in _TESTS.glob("*.py")}


def _require_xml(failure: dagger.ExecError) -> None:
    """Raise the failure if the tests did not run at all."""
    try:
        junit.cases(failure.stdout)
    except ParseError:
        raise failure from None


def render_results(results: Sequence[ImageTestResult], *, xml: bool) -> str:
    """Render all results as text, or as one XML document.

    Text raises `ImageTestFailed` if a test failed; XML is returned either way, as it has the
    failures.
    """
    if xml:
        return junit.merge([result.xml for result in results])
    text = "".join(result.text() for result in results)
    if failed := [result for result in results if not result.passed]:
        raise ImageTestFailed("\n".join([*(result.log for result in failed), text]))
    return text
