"""`store`: sizes and durations as users write them, and its subcommands on a real store."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

import pytest

from layerline.cli.commands.store import parse_duration, parse_size, store
from layerline.cli.console import Console
from layerline.cli.options import Options
from layerline.engine.store.store import Store
from layerline.errors import UsageError
from layerline.quantities import format_size
from layerline.settings import Settings
from tests.registry import serving

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def console(tmp_path: Path, root: None) -> Console:  # noqa: ARG001
    environ = {"HOME": str(tmp_path), "LAYERLINE_STORE": str(tmp_path / "store")}
    with Store.open(tmp_path / "store") as opened:
        opened.blobs.put(b"x" * 5000)
        (opened.volumes.volume("uv-cpu-" + "0" * 64) / "wheel").write_text("w")
    return Console(
        program="layerline",
        argv=[],
        options=Options.scan(["--workdir", str(tmp_path)]),
        settings=Settings.from_environ(environ),
    )


@pytest.mark.parametrize(
    ("text", "size"),
    [("1000", 1000), ("10GB", 10**10), ("512MiB", 512 << 20), ("1.5k", 1500), ("2 tb", 2 * 10**12)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["10", "1.5", " 1000 "])
def test_a_size_to_keep_has_a_unit(console: Console, text: str) -> None:
    number = text.strip()
    with pytest.raises(UsageError, match=f"'{number}' has no unit: use {number}GB, or {number}B"):
        store(console, ["prune", "--keep-storage", text])


@pytest.mark.parametrize("text", ["0", "10GB", "10B"])
def test_a_size_to_keep_may_be_nothing(console: Console, text: str) -> None:
    assert store(console, ["prune", "--keep-storage", text, "--dry-run"]) == 0


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("48h", 172800), ("1d12h", 129600)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "ten", "10 parsecs", "-1h"])
def test_what_is_neither_is_refused(text: str) -> None:
    for read in (parse_size, parse_duration):
        with pytest.raises(argparse.ArgumentTypeError):
            read(text)


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (1500, "1.5 kB"), (2.5e12, "2500.0 GB")])
def test_sizes_are_shown(size: float, text: str) -> None:
    assert format_size(size) == text


def test_df_and_volumes_as_json(console: Console, capsys: pytest.CaptureFixture[str]) -> None:
    assert store(console, ["df", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["parts"]["blobs"] == {"count": 1, "bytes": 5000}
    assert document["bytes"] == sum(each["bytes"] for each in document["parts"].values())
    assert store(console, ["volumes", "--json"]) == 0
    [volume] = json.loads(capsys.readouterr().out)["volumes"]
    assert (volume["key"], volume["hits"]) == ("uv-cpu", 1)


def test_the_status_of_check_says_whether_there_are_problems(
    console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    assert store(console, ["check", "--deep"]) == 0
    assert capsys.readouterr().out == "no problems found\n"
    [blob] = (console.settings.store / "blobs").iterdir()
    blob.chmod(0o600)
    blob.write_text("other")
    assert store(console, ["check", "--deep", "--json"]) == 1
    [problem] = json.loads(capsys.readouterr().out)["problems"]
    assert problem["name"] == blob.name
    assert store(console, ["check", "--deep", "--repair"]) == 0
    assert store(console, ["check", "--deep"]) == 0


def test_prune_wants_to_know_what_to_keep(console: Console) -> None:
    with pytest.raises(UsageError, match="use --keep-storage SIZE"):
        store(console, ["prune"])
    assert store(console, ["prune", "--keep-storage", "0"]) == 0
    assert list((console.settings.store / "blobs").iterdir()) == []
    assert list((console.settings.store / "volumes").iterdir()) != []


def test_a_volume_goes_out_and_comes_in_by_its_name(console: Console, tmp_path: Path) -> None:
    assert store(console, ["volume", "export", "uv-cpu"]) == 0
    assert store(console, ["prune", "--volume", "uv-cpu"]) == 0
    with pytest.raises(UsageError, match="unknown volume 'uv-cpu'"):
        store(console, ["volume", "export", "uv-cpu"])
    assert store(console, ["volume", "import", "uv-cpu.tar"]) == 0
    with Store.open(tmp_path / "store") as opened:
        place = opened.volumes.volume("uv-cpu-" + "0" * 64)
        assert (place / "wheel").read_text() == "w"


def test_a_volume_is_pushed_and_pulled(
    console: Console, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="no registry given: use --registry HOST/NAME"):
        store(console, ["volume", "push", "uv-cpu"])
    home = tmp_path / "registry"
    home.mkdir()
    with serving(home) as address:
        place = f"--registry={address}/volumes"
        assert store(console, ["volume", "push", "uv-cpu", place]) == 0
        assert store(console, ["volume", "pull", "uv-cpu", place, "--replace"]) == 0
    said = capsys.readouterr().err
    assert "pushed volume uv-cpu-" in said
    assert "1 of 1 chunks" in said
    assert "pulled volume uv-cpu-" in said
    assert "0 of 1 chunks" in said
