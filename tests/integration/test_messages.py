"""What goes wrong around a build: one clear sentence with what to do next, and no traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layerline import command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.conftest import Call, Project

pytestmark = [pytest.mark.privileged, pytest.mark.network]

USAGE = 1
RUNTIME_MISSING = 5
NO_SPACE = 7


@pytest.fixture
def small_disk(tmp_path: Path, mounts: None) -> Iterator[Path]:  # noqa: ARG001
    """A file system of few megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    command.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place])
    try:
        yield place
    finally:
        command.run(["umount", "--lazy", place])


def said(call: Call, *parts: str, status: int) -> None:
    """The call failed with one message that holds the parts, and nothing but it."""
    sentence, *more = call.error
    assert all(part in sentence for part in parts), call.stderr
    assert [line for line in more if not line.startswith(("Run '", "Full log: "))] == []
    assert call.status == status


def test_a_typo_in_a_function_name(project: Project) -> None:
    call = project.call("call", "biuld")
    said(call, 'unknown command "biuld" for "layerline call"; did you mean "build"?', status=USAGE)
    assert call.error[1] == "Run 'layerline call --help' for usage."


def test_a_bad_flag(project: Project) -> None:
    call = project.call("call", "build", "--secods-at-first=3")
    unknown = "unknown flag: --secods-at-first; did you mean --seconds-at-first?"
    said(call, unknown, status=USAGE)
    assert call.error[1] == "Run 'layerline call build --help' for usage."


def test_a_bad_value(project: Project) -> None:
    call = project.call("call", "build", "--seconds-at-first=soon")
    said(call, '"soon"', "--seconds-at-first", status=USAGE)
    assert call.error[1] == "Run 'layerline call build --help' for usage."


def test_a_path_that_is_missing(project: Project) -> None:
    """Dagger's message without what its library for gRPC says: tests/cli has the recording."""
    call = project.call("call", "--source=/nope", "build")
    reason = "lstat /nope: no such file or directory"
    way_out = "--source takes a directory of this machine"
    said(call, f'for argument "source": {reason}; {way_out}', status=USAGE)
    assert "rpc error" not in call.stderr


def test_no_module_here(project: Project, tmp_path: Path) -> None:
    call = project.call("--workdir", str(tmp_path), "call", "build")
    wanted = (f" in {tmp_path}", "name the module with -m PATH", "'layerline init'")
    said(call, "no dagger.json", *wanted, status=USAGE)


def test_no_base_to_be_had(project: Project) -> None:
    call = project.call("call", "without-base", "sync")
    wanted = ("127.0.0.1:9/nobody/nothing:1", "connection refused", "check the address")
    said(call, *wanted, status=USAGE)


def test_no_runtime(project: Project) -> None:
    call = project.call("call", "build", "sync", env={"LAYERLINE_RUNTIME": "nopec"})
    said(call, "OCI runtime 'nopec' not found", "LAYERLINE_RUNTIME", status=RUNTIME_MISSING)


def test_no_space_left(project: Project, small_disk: Path) -> None:
    call = project.call(
        *("core", "container", "with-rootfs", f"--directory={project.home}/rootfs"),
        *("with-exec", "--args=sh,-c,head -c 67108864 /dev/zero >/large", "sync"),
        env={"LAYERLINE_STORE": str(small_disk / "store")},
    )
    said(call, "withExec sh -c", "no space left", "LAYERLINE_STORE", status=NO_SPACE)
    assert list((small_disk / "store/scratch").iterdir()) == []


def test_a_directory_that_is_no_store(project: Project, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine\n")
    call = project.call("call", "build", "sync", env={"LAYERLINE_STORE": str(tmp_path)})
    said(call, f"{tmp_path} is not empty", "LAYERLINE_STORE", status=USAGE)
