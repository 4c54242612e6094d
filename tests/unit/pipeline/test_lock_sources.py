"""Locking packages without a wheel: with the real uv, which runs none of their code.

A backend is asked as PEP 517 has it, in a sandbox; uv gets what it said as `dependency-metadata`
(https://docs.astral.sh/uv/reference/settings/#dependency-metadata).
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from layerline import command
from layerline.pipeline.programs import (
    build_backend,
    build_wheel,
    fetch_source,
    resolve_or_explain_conflict,
)
from tests.integration.wheels import write_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("machine_root")

PYPROJECT = """\
[build-system]
requires = ["tool-one"]
build-backend = "backend"
backend-path = ["."]
"""
# It looks for what its process could read, and requires more to build it than pyproject.toml says.
BACKEND = """\
import errno, os, pathlib, socket, tool_one

def spy():
    found = [name for name in os.environ if name in ("NETRC", "INDEX_PAGES", "SECRET")]
    for path in ("NETRC_PATH", "/proc/1/environ", f"/proc/{os.getppid()}/environ"):
        try:
            found.append(pathlib.Path(path).read_text())
        except OSError:
            pass
    try:
        socket.create_connection(("127.0.0.1", 9), timeout=2)
    except OSError as exc:
        found.append(errno.errorcode[exc.errno])
    return ",".join(found)

def get_requires_for_build_wheel(config_settings=None):
    return ["tool-two"]

def prepare_metadata_for_build_wheel(output, config_settings=None):
    import tool_two
    info = pathlib.Path(output) / "demo-VERSION.dist-info"
    info.mkdir()
    text = "Metadata-Version: 2.1\\nName: demo\\nVersion: VERSION\\nREQUIRES"
    (info / "METADATA").write_text(f"{text}Summary: {spy()}\\n")
    return info.name
"""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What /mnt and /tmp are in a step, with the credentials of an index."""
    found = Path(tempfile.mkdtemp(prefix="layerline-lock-"))
    found.chmod(0o755)
    wheels = found / "wheels"
    for name in ("tool-one", "tool-two"):
        write_wheel(wheels, name, "1.0")
    write_wheel(wheels, "base", "1.0")
    (found / "netrc").write_text("machine index.example login user password word\n")
    (found / "netrc").chmod(0o400)
    monkeypatch.setenv("NETRC", str(found / "netrc"))
    monkeypatch.setenv("SECRET", "word")
    monkeypatch.setenv("INDEX_PAGES", "")
    monkeypatch.setenv("OFFLINE", "")
    monkeypatch.delenv("CA_BUNDLE", raising=False)
    monkeypatch.setattr(build_wheel, "WORK", found / "work")
    monkeypatch.setattr(fetch_source, "KEPT", found / "kept")
    monkeypatch.setattr(fetch_source, "TRIES", 1)
    arguments = found / "arguments"
    arguments.write_text(f"--find-links={wheels}\n--index-url=file://{found}/none")
    (found / "none").mkdir()
    for module in (fetch_source, resolve_or_explain_conflict):
        monkeypatch.setattr(module, "ARGUMENTS", arguments)
    yield found
    shutil.rmtree(found)


def write_source(place: Path, version: str, requires: str = "") -> None:
    """An archive of demo, whose backend tells what it sees in its summary."""
    home = place / f"demo-{version}"
    home.mkdir()
    (home / "pyproject.toml").write_text(PYPROJECT)
    text = BACKEND.replace("VERSION", version).replace("NETRC_PATH", str(place / "netrc"))
    (home / "backend.py").write_text(text.replace("REQUIRES", requires))
    command.run(["tar", "-czf", place / "wheels" / f"{home.name}.tar.gz", home.name], cwd=place)


def lock(
    place: Path, monkeypatch: pytest.MonkeyPatch, *requirements: str, **more: object
) -> dict[str, Any]:
    """What the program prints, with the text of the lock."""
    uv = str(Path(sys.executable).with_name("uv"))
    request = {
        "target": "cpu",
        "groups": {"core": requirements},
        "without": [],
        "upgrade": [],
        "only_binary": False,
        "no_deps": False,
        **{name: {} for name in ("sources", "urls", "locked", "projects", "known")},
        "uv": [
            *(uv, "pip", "compile", f"--python={sys.executable}"),
            *(f"--cache-dir={place / 'uv'}", "--only-binary=:all:"),
        ],
        "lock": str(place / "lock.txt"),
        **more,
    }
    printed = io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", io.StringIO(json.dumps(request)))
        patch.setattr(sys, "stdout", printed)
        umask = os.umask(0o022)
        resolve_or_explain_conflict.main()
        os.umask(umask)
    return {**json.loads(printed.getvalue()), "lock": (place / "lock.txt").read_text()}


def test_a_backend_is_asked_without_credentials_and_without_a_network(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_source(place, "1.0", "Requires-Dist: base\\n")
    said: list[str] = []
    entry = build_backend.entry

    def noted(name: str, fields: Any) -> dict[str, Any]:  # noqa: ANN401 - an email's message
        said.append(fields["Summary"])
        made: dict[str, Any] = entry(name, fields)
        return made

    monkeypatch.setattr(build_backend, "entry", noted)
    found = lock(place, monkeypatch, "demo")
    assert said == ["ENETUNREACH"]
    assert "\nbase==1.0 \\\n" in f"\n{found['lock']}"
    assert "\ndemo==1.0 \\\n" in f"\n{found['lock']}"


def test_what_builds_a_package_has_a_resolution_of_its_own(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wheel(place / "wheels", "tool-two", "2.0")
    write_source(place, "1.0", "Requires-Dist: tool-two<2\\n")
    found = lock(place, monkeypatch, "demo")
    # What the backend itself asks for as well (get_requires_for_build_wheel).
    assert found["sources"]["demo"]["requires"] == ["tool-one", "tool-two"]
    assert "tool-two==2.0 \\\n    --hash=sha256:" in found["sources"]["demo"]["pins"]
    assert "tool-two==1.0 \\\n" in found["lock"]
    assert "tool-one" not in found["lock"]
    # The pins of before stay.
    write_wheel(place / "wheels", "tool-one", "3.0")
    known = {"demo": found["sources"]["demo"]["pins"]}
    again = lock(place, monkeypatch, "demo", known=known)
    assert again["sources"] == found["sources"]


VERSIONED = """\
import os, pathlib

def prepare_metadata_for_build_wheel(output, config_settings=None):
    version = os.environ.get("SETUPTOOLS_SCM_PRETEND_VERSION") or "1.0"
    info = pathlib.Path(output) / f"NAME-{version}.dist-info"
    info.mkdir()
    text = f"Metadata-Version: 2.1\\nName: NAME\\nVersion: {version}\\n"
    (info / "METADATA").write_text(text)
    return info.name
"""


def test_the_version_of_a_commit_is_that_of_no_other_package(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """setuptools-scm takes the variable for every package that its process builds."""
    monkeypatch.setenv("SETUPTOOLS_SCM_PRETEND_VERSION", "")
    for name in ("of-git", "demo-1.0"):
        (place / name).mkdir()
        (place / name / "pyproject.toml").write_text(PYPROJECT.replace('"tool-one"', ""))
        text = VERSIONED.replace("NAME", name.partition("-1")[0])
        (place / name / "backend.py").write_text(text)
    command.run(["tar", "-czf", place / "wheels/demo-1.0.tar.gz", "demo-1.0"], cwd=place)
    url = {"url": "git+https://h.example/x", "place": str(place / "of-git"), "version": "9.9"}
    wanted = ("demo", f"of-git @ file://{place}/of-git")
    found = lock(place, monkeypatch, *wanted, urls={"of-git": url})
    versions = {name: each["version"] for name, each in found["sources"].items()}
    assert versions == {"demo": "1.0", "of-git": "9.9"}


def test_a_version_whose_requirements_do_not_fit_is_not_chosen(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_source(place, "1.0")
    write_source(place, "2.0", "Requires-Dist: base>=9\\n")
    assert "demo==1.0" in lock(place, monkeypatch, "demo", "base")["lock"]


def test_pins_with_hashes_alone_say_which_have_no_wheel(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_source(place, "1.0", "Requires-Dist: absent\\n")
    found = lock(place, monkeypatch, "base==1.0", "demo==1.0", no_deps=True)
    assert list(found["sources"]) == ["demo"]
    wrong = {"demo": {"version": "1.0", "hashes": ["sha256:" + "0" * 64], "url": ""}}
    with pytest.raises(SystemExit) as caught:
        lock(place, monkeypatch, "base", locked=wrong)
    first, *_, last = str(caught.value).splitlines()
    assert first == "demo==1.0 has no wheel for this platform, and cannot be built:"
    assert last.startswith("lock it with the hash of its source archive, take another version")


def test_a_project_of_the_repository_is_asked_as_well(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_source(place, "1.0")
    projects = {"app": {"place": str(place / "demo-1.0"), "editable": False, "known": ""}}
    found = lock(place, monkeypatch, "base", projects=projects)
    assert [line.split()[0] for line in found["projects"]["app"].splitlines() if "==" in line] == [
        "tool-one==1.0",
        "tool-two==1.0",
    ]


def test_what_builds_a_package_and_has_no_wheel_is_named(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "wheels" / "tool_one-1.0-py3-none-any.whl").unlink()
    write_source(place, "1.0")
    with pytest.raises(SystemExit, match=r"^what builds demo cannot be resolved as wheels \(tool"):
        lock(place, monkeypatch, "demo")


def test_a_link_to_a_secret_is_not_followed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = place / "demo-1.0"
    home.mkdir()
    (home / "pyproject.toml").symlink_to(place / "netrc")
    command.run(["tar", "-czf", place / "wheels" / "demo-1.0.tar.gz", home.name], cwd=place)
    # Without a table it is one of setuptools, which is not among the wheels.
    with pytest.raises(SystemExit, match=r"\(setuptools>=40\.8\.0\)"):
        lock(place, monkeypatch, "demo")
