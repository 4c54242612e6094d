"""The commands that `init` names start this program however it was started."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from layerline.cli import invocation as tested
from layerline.cli.invocation import invocation

if TYPE_CHECKING:
    from pathlib import Path


def environment(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment with the program, in which this process runs."""
    program = place / "bin/layerline"
    program.parent.mkdir(parents=True)
    program.touch(0o755)
    monkeypatch.setattr(sys, "prefix", str(place))
    return program.parent


@pytest.mark.parametrize("cache", ["archive-v0/x1", "environments-v2/x1"])
def test_uvx_is_named_with_what_it_took_the_program_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    """A shell has nothing of uvx on its PATH; PEP 610 says where a wheel came from."""
    own = environment(tmp_path / "uv" / cache, monkeypatch)
    monkeypatch.setattr(tested, "_source", lambda _name: "/my wheels/layerline.whl")
    path = f"{own}:/nowhere"
    assert invocation("layerline", {"PATH": path}) == (
        "uvx --from '/my wheels/layerline.whl' layerline"
    )
    installed = tmp_path / "bin"
    installed.mkdir()
    (installed / "layerline").touch(0o755)
    assert invocation("layerline", {"PATH": f"{path}:{installed}"}) == "layerline"


def test_an_environment_of_ones_own_is_activated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = environment(tmp_path / ".venv", monkeypatch)
    assert invocation("layerline", {"PATH": str(own)}) == "layerline"


@pytest.mark.parametrize(
    ("written", "source"),
    [
        ('{"url": "file:///a%20b/layerline.whl", "archive_info": {}}', "/a b/layerline.whl"),
        ('{"url": "https://example.org/layerline.whl"}', "https://example.org/layerline.whl"),
        (None, ""),
    ],
)
def test_the_source_is_that_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str | None, source: str
) -> None:
    info = tmp_path / "one_of_ours-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: one-of-ours\nVersion: 1\n")
    if written is not None:
        (info / "direct_url.json").write_text(written)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert tested._source("one-of-ours") == source
