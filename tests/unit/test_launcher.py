"""The launcher, run for real in a directory of its own, with stubs for the machine's programs."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from layerline import command

LAUNCHER = Path(__file__).parents[2] / "layerline"
NEEDED_BY_THE_SCRIPT = ("sh", "readlink", "cmp", "flock", "rm", "cp", "mv", "sed", "tail")
TOOL_PROGRAMS = (
    *("runc", "mmdebstrap", "tini-static", "ip", "pasta", "nft", "nsenter", "unshare"),
    *("newuidmap", "git", "rg"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """A copy of the launcher with locks, and the directory that is its whole PATH."""

    home: Path
    programs: Path

    def stub(self, name: str, script: str = "exit 0", *, at: Path | None = None) -> None:
        path = (at or self.programs) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def environment(self, script: str = 'echo "ran: $*"') -> None:
        """A finished environment whose Python is the script."""
        venv = self.home / ".venv"
        self.stub("python", script, at=venv / "bin")
        shutil.copy(self.home / "requirements/tool.txt", venv / "tool.lock")
        (venv / "place").write_text(f"{self.home}\n")

    def run(self, *words: str, program: Path | None = None) -> command.Finished:
        argv: list[str | Path] = [program or self.home / "layerline", *words]
        return command.run(argv, env={"PATH": str(self.programs)}, expect=None)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(home=tmp_path / "home", programs=tmp_path / "programs")
    (made.home / "requirements").mkdir(parents=True)
    for name in ("tool", "dev", "uv"):
        (made.home / f"requirements/{name}.txt").write_text(f"{name}==1 --hash=sha256:00\n")
    shutil.copy(LAUNCHER, made.home)
    made.programs.mkdir()
    for name in NEEDED_BY_THE_SCRIPT:
        (made.programs / name).symlink_to(command.require(name))
    for name in TOOL_PROGRAMS:
        made.stub(name)
    made.stub("id", "echo 0")
    made.stub("python3", "exit 3")
    return made


def test_a_finished_environment_is_used_at_once_with_the_users_words(checkout: Checkout) -> None:
    checkout.environment()
    done = checkout.run("call", "a b", "--x=*")
    assert (done.status, done.stdout) == (0, b"ran: -I -m layerline call a b --x=*\n")
    assert done.stderr == b""


def test_the_tools_exit_status_is_the_launchers(checkout: Checkout) -> None:
    checkout.environment("exit 7")
    assert checkout.run("call").status == 7


def test_a_link_to_the_launcher_finds_its_home(checkout: Checkout, tmp_path: Path) -> None:
    checkout.environment()
    link = tmp_path / "bin" / "layerline"
    link.parent.mkdir()
    link.symlink_to("../home/layerline")
    assert checkout.run("version", program=link).stdout.startswith(b"ran: ")


@pytest.mark.parametrize("spoiled", ["place", "tool.lock"])
def test_a_half_made_environment_is_not_used(checkout: Checkout, spoiled: str) -> None:
    checkout.environment()
    (checkout.home / ".venv" / spoiled).unlink()
    checkout.stub("python3", 'case "$*" in "-m venv"*) exit 9 ;; esac')
    done = checkout.run("call")
    assert (done.status, done.stdout) == (1, b"")
    assert b"creating the environment" in done.stderr


@pytest.mark.parametrize("changed", ["requirements/tool.txt", ".venv/place"])
def test_a_changed_lock_or_place_recreates_the_environment(
    checkout: Checkout, changed: str
) -> None:
    checkout.environment()
    (checkout.home / changed).write_text("other\n")
    checkout.stub("python3", 'case "$*" in *venv*) echo "made" ; exit 9 ;; esac')
    done = checkout.run("call")
    assert done.status == 1
    assert b"creating the environment" in done.stderr
    assert b"failed to create a virtual environment" in done.stderr


def test_a_machine_without_python_is_an_error(checkout: Checkout) -> None:
    done = checkout.run("call")
    assert done.status == 1
    assert b"no Python 3.11 or newer on the PATH: install one" in done.stderr


def test_set_up_ends_with_the_tool(checkout: Checkout) -> None:
    checkout.stub("python3", f'case "$*" in "-m venv"*) {making(checkout)} ;; esac')
    done = checkout.run("call", "x")
    assert (done.status, done.stdout) == (0, b"ran: -I -m layerline call x\n"), done.stderr
    again = checkout.run("call", "y")
    assert (again.stdout, again.stderr) == (b"ran: -I -m layerline call y\n", b"")


def making(checkout: Checkout) -> str:
    """What makes an environment whose Python tells its words, and whose pip settings are none."""
    told = 'case "$*" in *pip*) ;; *) echo "ran: $*" ;; esac'
    checkout.stub("made-python", told)
    checkout.stub("mkdir", f'exec {command.require("mkdir")} "$@"')
    place = checkout.home / ".venv"
    return (
        f"mkdir -p {place}/bin {place}/lib/python3.11/site-packages; "
        f"cp {checkout.programs}/made-python {place}/bin/python; "
        f"cp {checkout.programs}/git {place}/bin/uv"
    )


def test_the_source_is_on_the_path_of_the_environment(checkout: Checkout) -> None:
    checkout.stub("python3", f'case "$*" in "-m venv"*) {making(checkout)} ;; esac')
    checkout.run("call")
    (link,) = (checkout.home / ".venv").glob("lib/python3*/site-packages/*.pth")
    assert link.read_text() == f"{checkout.home}/src\n"


def test_an_interrupted_installation_is_repeated(checkout: Checkout) -> None:
    broken = f'{making(checkout)}; echo "exit 1" >> {checkout.home}/.venv/bin/uv'
    checkout.stub("git", "")
    checkout.stub("python3", f'case "$*" in "-m venv"*) {broken} ;; esac')
    first = checkout.run("call")
    assert first.status == 1
    assert b"failed to install the requirements" in first.stderr
    checkout.stub("python3", f'case "$*" in "-m venv"*) {making(checkout)} ;; esac')
    assert checkout.run("call").status == 0


def test_an_ordinary_user_is_told_the_one_command(checkout: Checkout) -> None:
    checkout.environment()
    checkout.stub("id", "echo 1000")
    checkout.stub("apt-get", "echo called; exit 0")
    (checkout.programs / "mmdebstrap").unlink()
    (checkout.programs / "rg").unlink()
    done = checkout.run("call")
    assert (done.status, done.stdout) == (1, b"")
    assert done.stderr.decode() == (
        "layerline: not installed: mmdebstrap ripgrep; "
        "install them with 'sudo apt-get install --yes mmdebstrap ripgrep'\n"
    )


def test_root_gets_the_packages_installed_with_a_message(
    checkout: Checkout, tmp_path: Path
) -> None:
    checkout.environment()
    checkout.stub("apt-get", f'echo "$*" >> {tmp_path}/calls')
    (checkout.programs / "mmdebstrap").unlink()
    done = checkout.run("call")
    assert (done.status, done.stdout) == (0, b"ran: -I -m layerline call\n")
    assert done.stderr == b"layerline: installing mmdebstrap with apt-get\n"
    assert (tmp_path / "calls").read_text() == (
        "update --quiet\ninstall --yes --quiet --no-install-recommends mmdebstrap\n"
    )


def test_a_failed_installation_stops_the_launcher(checkout: Checkout) -> None:
    checkout.environment()
    checkout.stub("apt-get", "echo no route; exit 100")
    (checkout.programs / "mmdebstrap").unlink()
    done = checkout.run("call")
    assert (done.status, done.stdout) == (1, b"")
    assert done.stderr.decode().endswith(
        "no route\nlayerline: apt-get failed to install mmdebstrap: see its messages above\n"
    )


def test_a_machine_without_apt_gets_the_names_of_packages(checkout: Checkout) -> None:
    checkout.environment()
    (checkout.programs / "mmdebstrap").unlink()
    done = checkout.run("call")
    assert done.status == 1
    assert (
        b"not installed: mmdebstrap; install them with the system's package manager" in done.stderr
    )


def test_the_doctor_runs_before_anything_is_set_up(checkout: Checkout) -> None:
    checkout.stub("python3", 'case "$*" in *version_info*) exit 0 ;; *) echo "ran: $*" ;; esac')
    for name in TOOL_PROGRAMS:
        (checkout.programs / name).unlink()
    done = checkout.run("doctor", "--json", "a b")
    assert done.status == 0
    assert done.stdout.startswith(b"ran: -I -c import sys; ")
    assert done.stdout.endswith(f"{checkout.home}/src --json a b\n".encode())
    assert not (checkout.home / ".venv").exists()


def test_the_doctor_runs_for_real_on_a_path_with_nothing_but_python(checkout: Checkout) -> None:
    (checkout.home / "src").symlink_to(LAUNCHER.parent / "src")
    (checkout.programs / "python3").unlink()
    (checkout.programs / "python3").symlink_to(sys.executable)
    done = checkout.run("doctor", "--list")
    assert (done.status, done.stderr) == (0, b"")
    assert b"context-size" in done.stdout


def test_an_ordinary_user_gets_one_command_for_everything(checkout: Checkout) -> None:
    checkout.stub("id", "echo 1000")
    checkout.stub("apt-get")
    (checkout.programs / "newuidmap").unlink()
    checkout.stub("python3", 'case "$*" in *ensurepip*) exit 1 ;; esac')
    done = checkout.run("call", "build")
    wanted = "not installed: uidmap python3-venv; install them with"
    assert (done.status, done.stderr.decode()) == (
        1,
        f"layerline: {wanted} 'sudo apt-get install --yes uidmap python3-venv'\n",
    )
