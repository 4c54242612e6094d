"""What tests need of the machine: measured once, and skipped with the reason where it is missing.

`--slow` runs what takes minutes; `privileged` and `network` mark tests that need containers and a
package index. Fixtures (`root`, `runc`, `overlay`, `loop_mounts`, `registry`, …) ask for one thing
each. Nothing needs root of the machine only because containers do: see `engine_process`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.settings import process_environ
from tests.capabilities import (
    SOURCE,
    no_cgroups,
    no_container_user,
    no_containers,
    no_device_nodes,
    no_large_owners,
    no_loop_mounts,
    no_machine_root,
    no_mounts,
    no_network,
    no_overlay,
    no_process_limits,
    no_root,
    no_runc,
    no_shifted_owners,
    no_trusted_attributes,
)
from tests.engine_process import (
    needs_root,
    pytest_configure,
    pytest_runtestloop,
    pytest_unconfigure,
)
from tests.ordinary_user import OrdinaryUser, ordinary_user
from tests.registry import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["SOURCE", "pytest_configure", "pytest_runtestloop", "pytest_unconfigure"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run what takes minutes")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("slow") and not item.config.getoption("--slow"):
        pytest.skip("takes minutes; give --slow to run it")
    if item.get_closest_marker("privileged"):
        skip_because(no_containers)
    if needs_root(item):
        skip_because(no_root)
    if item.get_closest_marker("network"):
        skip_because(no_network)


def skip_because(*measured: Callable[[], str]) -> None:
    """Skip with the first reason that was measured."""
    for reason in filter(None, (measure() for measure in measured)):
        pytest.skip(reason)


@pytest.fixture(scope="session")
def root() -> None:
    """The test runs as root, of the machine or of a user namespace."""
    skip_because(no_root)


@pytest.fixture(scope="session")
def machine_root() -> None:
    """The test runs as root of the machine."""
    skip_because(no_machine_root)


@pytest.fixture(scope="session")
def runc(root: None) -> Path:  # noqa: ARG001
    """The runtime program."""
    skip_because(no_runc)
    return command.require("runc")


@pytest.fixture(scope="session")
def overlay(root: None) -> None:  # noqa: ARG001
    """Overlayfs can be mounted below tmp_path."""
    skip_because(no_overlay)


@pytest.fixture(scope="session")
def device_nodes() -> None:
    """Device nodes can be created below tmp_path."""
    skip_because(no_device_nodes)


@pytest.fixture(scope="session")
def mounts() -> None:
    """File systems can be mounted in the namespace of this process."""
    skip_because(no_mounts)


@pytest.fixture(scope="session")
def loop_mounts() -> None:
    """A file system in a file can be mounted."""
    skip_because(no_loop_mounts)


@pytest.fixture(scope="session")
def shifted_owners(root: None) -> None:  # noqa: ARG001
    """Files below tmp_path can be shown with other owners."""
    skip_because(no_shifted_owners)


@pytest.fixture(scope="session")
def trusted_attributes(root: None) -> None:  # noqa: ARG001
    """Overlayfs has its markers in `trusted.overlay.`."""
    skip_because(no_trusted_attributes)


@pytest.fixture(scope="session")
def large_owners(root: None) -> None:  # noqa: ARG001
    """Files may belong to any id."""
    skip_because(no_large_owners)


@pytest.fixture(scope="session")
def writable_cgroups() -> None:
    """Steps have cgroups."""
    skip_because(no_cgroups)


@pytest.fixture(scope="session")
def process_limits(root: None) -> None:  # noqa: ARG001
    """Few processes can be allowed to a step by rlimits."""
    skip_because(no_process_limits)


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
    skip_because(no_containers)
    environ = {**process_environ(), "PYTHONPATH": f"{SOURCE}:{SOURCE.parent}"}
    command.run([sys.executable, "-m", "tests.images", "--registry", registry], env=environ)
    return registry


@pytest.fixture
def command_line(bases: str, tmp_path: Path) -> CommandLine:
    """The command line over a store of the test's own, which finds the base images."""
    own = {
        "CI": "",  # of the machine that runs the tests; a person at a terminal has none
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
            "CI": "",
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
