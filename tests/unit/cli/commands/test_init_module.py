"""`init` creates modules where its arguments ask for one; what needs no index."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from layerline.cli.commands.init import init
from layerline.cli.console import Console
from layerline.cli.options import Options
from layerline.errors import LayerlineError, UsageError
from layerline.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def run(workdir: Path, *argv: str) -> int:
    settings = Settings.from_environ({"HOME": str(workdir), "LAYERLINE_STORE": str(workdir / "s")})
    options = Options.scan([f"--workdir={workdir}"])
    return init(Console(program="layerline", argv=[], options=options, settings=settings), argv)


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "dagger.json").read_text())
    return found


@pytest.mark.parametrize("argv", [("--name=mine", "."), ("--name=mine",), ("mine",)])
def test_a_name_or_a_path_alone_is_a_module_without_code(
    argv: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, *argv)
    place = tmp_path / "mine" if argv == ("mine",) else tmp_path
    assert read(place) == {"name": "mine", "engineVersion": "v0.21.8"}
    assert capsys.readouterr().out == f"Initialized module mine in {place}\n"
    assert not (tmp_path / "layerline.toml").exists()


def test_a_module_stays_as_it_is(tmp_path: Path) -> None:
    run(tmp_path, "--name=mine")
    with pytest.raises(LayerlineError, match="module already exists"):
        run(tmp_path, "--name=other")
    assert read(tmp_path)["name"] == "mine"


@pytest.mark.usefixtures("root")  # the store would be that of another user
def test_a_blueprint_is_named_relative_to_the_module(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    run(tmp_path, "--name=base", "lib/base")
    run(tmp_path, "--blueprint=lib/base", "apps/blue")
    assert read(tmp_path / "apps" / "blue") == {
        "name": "blue",
        "engineVersion": "v0.21.8",
        "blueprint": {"name": "base", "source": "../../lib/base"},
    }


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--sdk=none", "x"), 'failed to load sdk for module source: invalid SDK: "none"'),
        (("--sdk=go", "x"), '"go" is not supported'),
        (("--sdk=github.com/owner/sdk", "x"), "runs Python modules only"),
        (("--sdk=python", "--blueprint=y", "x"), "cannot specify both --sdk and --blueprint"),
        (("--sdk=python", "--source=.x", "x"), r'source subpath "../.x" escapes source root "."'),
        (("--with-self-calls", "x"), "cannot enable self-calls"),
        (("--blueprint=./none", "x"), 'local path "./none" does not exist'),
    ],
)
@pytest.mark.usefixtures("root")
def test_a_mistake_leaves_nothing(argv: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(LayerlineError, match=message):
        run(tmp_path, *argv)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("a", "b"), "accepts at most 1"),
        (("--license=MIT", "x"), "unknown license 'MIT'"),
        (("--dry-run", "x"), "--dry-run is for a layerline.toml"),
    ],
)
def test_what_cannot_be_said(argv: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        run(tmp_path, *argv)
