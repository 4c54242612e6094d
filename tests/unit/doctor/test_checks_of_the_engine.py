"""What the engine needs: each check fails on the real condition, and is content without it."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from layerline import command
from layerline.doctor.catalogue import CHECKS
from layerline.doctor.checks.capabilities import PROGRAMS
from layerline.doctor.runner import run_checks
from layerline.doctor.subject import Subject
from layerline.errors import CommandFailed
from tests.capabilities import no_runc
from tests.conftest import skip_because
from tests.ordinary_user import ordinary_user

if TYPE_CHECKING:
    from tests.ordinary_user import OrdinaryUser
    from tests.unit.doctor.conftest import Host

HOME = Path(__file__).parents[3]
NOBODY = 65534
START = "import sys; sys.path.insert(0, sys.argv.pop(1)); import layerline.doctor.__main__ as m"


def alone(
    python: str | Path, check: str, place: Path, before: tuple[str | Path, ...] = ()
) -> list[dict[str, Any]]:
    """The findings of one check that another Python makes in a process of its own."""
    argv = [*before, python, "-I", "-B", "-c", f"{START}; m.main()", HOME / "src"]
    words = ("--check", check, "--json", "--project", place)
    done = command.run([*argv, *words], env={"PATH": str(place)}, expect=(0, 1), timeout=60.0)
    document = json.loads(done.stdout)
    assert [each["reason"] for each in document["checks"] if each["status"] == "failed"] == []
    found: list[dict[str, Any]] = document["findings"]
    return found


def old_python() -> Path:
    known = Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python3")
    named = [command.find(f"python3.{minor}") for minor in (9, 10)]
    for each in [*filter(None, named), *known]:
        version = command.run([each, "-c", "import sys; print(*sys.version_info[:2])"]).stdout
        if version.split() in ([b"3", b"9"], [b"3", b"10"]):
            return each
    pytest.skip("needs Python 3.9 or 3.10")


def test_a_python_that_is_too_old_and_a_newer_one_next_to_it(tmp_path: Path) -> None:
    old = old_python()
    [finding] = alone(old, "python", tmp_path)
    assert finding["facts"]["version"].startswith(("3.9.", "3.10."))
    (tmp_path / "python3.12").symlink_to(sys.executable)
    assert alone(old, "python", tmp_path) == []


def test_this_python_is_new_enough(host: Host) -> None:
    assert host.look("python").status == "ok"


def test_a_python_without_the_module_that_makes_environments(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As Debian's is without python3-venv: the rest of the library is complete.
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    assert "ensurepip" in host.look("python-venv").findings[0].seen


def test_a_python_that_can_make_environments(host: Host) -> None:
    host.program("tool")
    assert host.look("python-venv", tool=("tool",)).status == "ok"
    try:
        command.run([sys.executable, "-c", "import ensurepip"])
    except CommandFailed:
        pytest.skip("this Python has no ensurepip")
    assert host.look("python-venv").status == "ok"


def test_programs_that_are_missing_and_all_of_them(host: Host) -> None:
    places = str(host.programs)
    for name in PROGRAMS.keys() - {"git", "pasta"}:
        host.program(name)
    [finding] = host.look("engine-programs", programs=places).findings
    assert finding.facts["missing"] == ["git", "pasta"]
    assert finding.commands[0].endswith(" git passt")
    for name in ("git", "pasta"):
        host.program(name)
    assert host.look("engine-programs", programs=places).status == "ok"


def test_the_programs_are_those_that_the_launcher_sees_to() -> None:
    [pairs] = re.findall(
        r"^tool_programs='([^']+)'", (HOME / "layerline").read_text(), re.MULTILINE
    )
    assert dict(pair.split(":") for pair in pairs.split()) == PROGRAMS


@pytest.mark.usefixtures("machine_root")
def test_root_without_the_right_to_make_namespaces(tmp_path: Path) -> None:
    less = (command.require("setpriv"), "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
    [finding] = alone(sys.executable, "engine-privilege", tmp_path, less)
    assert (finding["severity"], "CAP_SYS_ADMIN" in finding["seen"]) == ("high", True)


def as_user(user: OrdinaryUser, *checks: str) -> dict[str, list[str]]:
    """What the checks see, run by the user."""
    named = [arg for check in checks for arg in ("--check", check)]
    argv = user.argv([sys.executable, "-m", "layerline.doctor", "--json", *named])
    environ = user.environ({"PYTHONPATH": str(HOME / "src")})
    done = command.run(argv, env=environ, cwd=user.home, expect=(0, 1))
    seen: dict[str, list[str]] = {check: [] for check in checks}
    for finding in json.loads(done.stdout)["findings"]:
        seen[finding["check"]].append("; ".join((finding["seen"], *finding["commands"])))
    return seen


def test_an_ordinary_user_who_can_build(container_user: None) -> None:  # noqa: ARG001
    checks = ("engine-privilege", "user-namespaces", "subordinate-ids", "tun")
    with ordinary_user() as user:
        assert as_user(user, *checks) == {check: [] for check in checks}


@pytest.mark.usefixtures("container_user", "machine_root")
def test_an_ordinary_user_without_subordinate_ids() -> None:
    span = "100000-165535"
    ranges = f"sudo usermod --add-subuids {span} --add-subgids {span} ordinary"
    with ordinary_user(subordinate=False) as user:
        seen = as_user(user, "engine-privilege", "subordinate-ids")
    assert seen["subordinate-ids"] == [
        f"ordinary has no range in /etc/{file}; {ranges}" for file in ("subuid", "subgid")
    ]
    assert "cannot become root of a user namespace" in seen["engine-privilege"][0]


def test_a_device_for_networks_that_is_missing_or_closed(host: Host, tmp_path: Path) -> None:
    tun = tmp_path / "tun"
    [finding] = host.look("tun", tun=tun).findings
    assert finding.commands == ("sudo modprobe tun",)
    tun.touch()
    assert host.look("tun", tun=tun).status == "ok"


@pytest.mark.usefixtures("overlay")
def test_root_who_may_do_all(host: Host) -> None:
    assert host.look("engine-privilege").status == "ok"


def test_a_runtime_that_fails_and_one_that_works(host: Host) -> None:
    host.environ["LAYERLINE_RUNTIME"] = str(host.programs / "runtime")
    host.program("runtime", "echo 'error while loading shared libraries' >&2; exit 127")
    assert host.look("engine-runtime").status == "found"
    host.program("runtime", "echo runtime version 1.1")
    assert host.look("engine-runtime").status == "ok"


def test_the_runtime_of_this_machine(host: Host) -> None:
    skip_because(no_runc)
    assert host.look("engine-runtime").status == "ok"


def test_user_namespaces_that_work(host: Host) -> None:
    try:
        command.run(["unshare", "--user", "true"])
    except CommandFailed as exc:
        pytest.skip(f"this machine refuses user namespaces: {exc}")
    host.kernel("sys/user/max_user_namespaces", "0\n")  # what works is not judged by settings
    assert host.look("user-namespaces").status == "ok"


@pytest.mark.usefixtures("machine_root")
def test_a_folder_that_this_user_may_not_read() -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        (place / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
        (place / "closed").mkdir(mode=0o700)
        assert as_ordinary_user(place) == "found closed"
        (place / ".dockerignore").write_text("closed\n")
        assert as_ordinary_user(place) == "ok"
        (place / ".dockerignore").unlink()
        (place / "closed").chmod(0o755)
        assert as_ordinary_user(place) == "ok"


def as_ordinary_user(project: Path) -> str:
    """How the check went for a user who is not root, and the folders that it named."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            checks = [each for each in CHECKS if each.name == "context-readable"]
            [result] = run_checks(Subject.of(project, {}), checks)
            paths = [path for each in result.findings for path in each.facts["paths"]]
            os.write(writer, " ".join([result.status, *paths]).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as said:
        return said.read()
