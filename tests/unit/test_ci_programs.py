"""The two programs of deploy/ that CI systems run around the calls."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from layerline import command
from layerline.engine.image.registry.credentials import Credentials, Login

HOME = Path(__file__).parents[2]
ENVIRON = {"PATH": "/usr/bin:/bin"}
# Logs its arguments, lists volumes, and writes the files that it is asked for.
TOOL = """\
#!/bin/sh
echo "$@" >>"${0%/*}/asked"
case "$1 $2 $3" in
'store volumes ') printf 'VOLUME SIZE\\nuv-core-cpu-v2  1 MB\\napt-cache-cpu-v2  2 MB\\n' ;;
'store volume export') echo wheels >"$5" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of nothing but the programs and a tool that writes down what it is asked."""
    shutil.copytree(HOME / "deploy", tmp_path / "deploy")
    tool = tmp_path / "layerline"
    tool.write_text(TOOL)
    tool.chmod(0o755)
    return tmp_path


def test_cache_volumes_of_wheels_are_saved_and_restored(checkout: Path) -> None:
    program, folder = checkout / "deploy/cache-volumes", checkout / "volumes"
    folder.mkdir()
    (folder / "uv-old-cpu-v2.tar").write_text("of a lock that is gone")
    command.run([program, "save", folder], env=ENVIRON)
    assert [path.name for path in folder.iterdir()] == ["uv-core-cpu-v2.tar"]
    command.run([program, "restore", folder], env=ENVIRON)
    asked = (checkout / "asked").read_text().splitlines()
    assert asked[-1] == f"store volume import --replace {folder}/uv-core-cpu-v2.tar"


def test_a_first_run_has_nothing_to_restore(checkout: Path) -> None:
    command.run([checkout / "deploy/cache-volumes", "restore", checkout / "none"], env=ENVIRON)
    assert not (checkout / "asked").exists()


def test_a_login_is_written_where_it_is_read_and_for_its_owner_alone(tmp_path: Path) -> None:
    config = tmp_path / "login"
    given = {
        "REGISTRY": "registry.example:5000/team",
        "REGISTRY_USER": "robot",
        "REGISTRY_PASSWORD": 'a "long" pass:word ' * 5,
        "DOCKER_CONFIG": str(config),
    }
    command.run([HOME / "deploy/registry-login"], env={**ENVIRON, **given})
    credentials = Credentials(docker_config=config / "config.json")
    assert credentials.for_registry("registry.example:5000") == Login(
        username="robot", secret=given["REGISTRY_PASSWORD"]
    )
    assert stat.S_IMODE((config / "config.json").stat().st_mode) == 0o600


def test_what_is_missing_for_a_login_is_named(tmp_path: Path) -> None:
    given = {"REGISTRY": "registry.example", "DOCKER_CONFIG": str(tmp_path)}
    done = command.run([HOME / "deploy/registry-login"], env={**ENVIRON, **given}, expect=(2,))
    assert done.stderr.decode().startswith("REGISTRY_USER is not set.")
