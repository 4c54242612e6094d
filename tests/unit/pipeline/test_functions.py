"""The functions that every project has, as the SDK describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagger
import pytest
from dagger import dag

import layerline
from layerline.pipeline.functions import PipelineFunctions

if TYPE_CHECKING:
    from pathlib import Path

DEFINITION = """\
[targets.cpu]
[groups.core]
requirements = ["numpy"]
[images.small]
target = "cpu"
groups = ["core"]
"""
LOCK = f"""\
uv==0.9.0 --hash=sha256:{"0" * 64}
numpy==2.0.0 --hash=sha256:{"0" * 64}
"""


@pytest.mark.parametrize("name", ["publish", "lock"])
def test_what_acts_on_a_registry_or_asks_one_is_never_remembered(name: str) -> None:
    """`cache: never` of Dagger's functions: a tag or an index may have moved since."""
    definition = vars(vars(PipelineFunctions)[name])["__dagger_function__"]
    assert definition.cache == "never"


async def test_what_a_function_returns_is_written_in_its_spans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each of its files is a step after the call: `withNewFile /cpu.txt DONE [0.0s]`."""
    monkeypatch.setenv("LAYERLINE_STORE", str(tmp_path / "store"))
    project = tmp_path / "project"
    (project / "locks").mkdir(parents=True)
    (project / "layerline.toml").write_text(DEFINITION)
    (project / "locks/cpu.txt").write_text(LOCK)
    with layerline.connect(workdir=project):
        async with dagger.connection():
            functions: Any = PipelineFunctions(source=dag.host().directory("."))
            made = await functions.dockerfiles()
            written = set((tmp_path / "store/snapshots").iterdir())
            assert "small.Dockerfile" in await made.entries()
            await made.sync()
    assert set((tmp_path / "store/snapshots").iterdir()) == written
