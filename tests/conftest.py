"""What tests need of the machine: measured once, and skipped with the reason where it is not there.

`--slow` runs what takes minutes; `privileged` and `network` mark tests that need what is measured
here. The fixtures `root`, `runc`, `overlay` and `registry` ask for one thing each.
"""

from __future__ import annotations

import functools
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.errors import LayerlineError
from layerline.settings import process_environ
from tests.images import cache_directory, serve
from tests.ordinary_user import OrdinaryUser, no_ordinary_user, ordinary_user
from tests.registry import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

SOURCE = Path(__file__).parents[1] / "src"


@functools.cache
def no_root() -> str:
    """Why this process may not do what a container engine needs; empty if it may."""
    return "" if os.geteuid() == 0 else "not root"


@functools.cache
def no_runc() -> str:
    """Why runc does not run here; empty if it does."""
    try:
        command.run(["runc", "--version"])
    except LayerlineError as exc:
        return str(exc)
    return ""


@functools.cache
def no_overlay() -> str:
    """Why overlayfs cannot be mounted where tests keep their files; empty if it can."""
    if reason := no_root():
        return reason
    with tempfile.TemporaryDirectory() as name:
        places = [Path(name, part) for part in ("lower", "upper", "work", "merged")]
        for place in places:
            place.mkdir()
        lower, upper, work, merged = places
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        mount: list[str | Path] = ["mount", "-t", "overlay", "overlay", "-o", options, merged]
        try:
            command.run(["unshare", "--mount", *mount])
        except LayerlineError as exc:
            return str(exc)
    return ""


@functools.cache
def no_container_user() -> str:
    """Why an ordinary user cannot run containers here; empty if one can."""
    return no_root() or no_ordinary_user()


@functools.cache
def no_network() -> str:
    """Why no package index answers; empty if one does."""
    uv = Path(sys.executable).with_name("uv")
    with tempfile.TemporaryDirectory() as cache:
        words = ("pip", "compile", "--quiet", "--no-deps", "--cache-dir", cache, "-")
        try:
            command.run([uv, *words], env=process_environ(), stdin=b"uv\n", timeout=60.0)
        except LayerlineError as exc:
            return f"no package index answers: {exc}"
    return ""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run what takes minutes")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("slow") and not item.config.getoption("--slow"):
        pytest.skip("takes minutes; give --slow to run it")
    if item.get_closest_marker("privileged"):
        skip_because(no_root, no_runc, no_overlay)
    if item.get_closest_marker("network"):
        skip_because(no_network)


def skip_because(*measured: Callable[[], str]) -> None:
    """Skip with the first reason that was measured."""
    for reason in filter(None, (measure() for measure in measured)):
        pytest.skip(reason)


@pytest.fixture(scope="session")
def root() -> None:
    """The test runs as root."""
    skip_because(no_root)


@pytest.fixture(scope="session")
def runc() -> Path:
    """The runtime program."""
    skip_because(no_root, no_runc)
    return command.require("runc")


@pytest.fixture(scope="session")
def overlay() -> None:
    """Overlayfs can be mounted below tmp_path."""
    skip_because(no_overlay)


@pytest.fixture(scope="session")
def container_user() -> None:
    """An ordinary user with subordinate ids can enter a user namespace and mount overlayfs."""
    skip_because(no_container_user)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real registry without TLS and login, empty at first: its host:port."""
    with serving(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="session")
def bases(registry: str) -> str:
    """The registry, with the base images `debian:bookworm-slim` and `python:3.11-slim` in it."""
    skip_because(no_root, no_runc, no_overlay)
    serve(registry, cache_directory(process_environ()))
    return registry


@pytest.fixture
def command_line(bases: str, tmp_path: Path) -> CommandLine:
    """The command line over a store of the test's own, which finds the base images."""
    own = {
        "HOME": str(tmp_path),
        "LAYERLINE_STORE": str(tmp_path / "store"),
        "LAYERLINE_REGISTRY_MIRRORS": f"docker.io=http://{bases}",
        "PYTHONPATH": str(SOURCE),
    }
    workdir = tmp_path / "work"
    workdir.mkdir()
    return CommandLine(environ={**process_environ(), **own}, workdir=workdir)


@pytest.fixture(scope="module")
def user_command_line(bases: str, container_user: None) -> Iterator[CommandLine]:  # noqa: ARG001
    """The same for an ordinary user, whose store a module's tests share."""
    with ordinary_user() as user:
        own = {
            "LAYERLINE_STORE": str(user.home / "store"),
            "LAYERLINE_REGISTRY_MIRRORS": f"docker.io=http://{bases}",
            "PYTHONPATH": str(SOURCE),
        }
        environ = user.environ({**process_environ(), **own})
        yield CommandLine(environ=environ, workdir=user.directory("work"), user=user)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """`layerline` as a user runs it, from this checkout."""

    environ: Mapping[str, str]
    workdir: Path
    user: OrdinaryUser | None = None

    @property
    def words(self) -> list[str]:
        """The command line to which arguments are added."""
        words = [sys.executable, "-m", "layerline"]
        return self.user.argv(words) if self.user else words

    def run(
        self, *words: str, stdin: bytes | None = None, expect: Sequence[int] | None = (0,)
    ) -> command.Finished:
        """Run a command to its end."""
        return command.run(
            [*self.words, *words], env=self.environ, cwd=self.workdir, stdin=stdin, expect=expect
        )

    def start(self, *words: str) -> command.Process[bytes]:
        """Start a command; its outputs are pipes."""
        return command.start(
            [*self.words, *words],
            env=self.environ,
            cwd=self.workdir,
            stdin=command.PIPE,
            stdout=command.PIPE,
            stderr=command.PIPE,
        )
