"""Defaults that a module chose give it nothing of the caller's machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from layerline.engine.module.definitions import Function, FunctionArg, TypeDef
from layerline.engine.module.session_arguments import complete_in_session
from layerline.engine.module.source import read_config
from layerline.errors import LayerlineError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.conftest import OpenSession


@pytest.mark.parametrize(
    ("typename", "address"),
    [
        ("Secret", "cmd://id"),
        ("Secret", "env://TOKEN"),
        ("Secret", "file:///etc/passwd"),
        ("Socket", "unix:///run/docker.sock"),
        ("Service", "tcp://127.0.0.1:5432"),
        ("CacheVolume", "pip"),
        ("Directory", "/etc"),
        ("Directory", "http://127.0.0.1:1/x.git"),
        ("GitRef", "/work"),
        ("Container", "127.0.0.1:1/image"),
    ],
)
async def test_a_default_address_is_of_elsewhere(
    open_a_session: OpenSession, tmp_path: Path, typename: str, address: str
) -> None:
    document = {"name": "sample", "sdk": {"source": "python"}, "engineVersion": "v0.21.8"}
    (tmp_path / "dagger.json").write_text(json.dumps(document))
    kind = TypeDef(kind="OBJECT_KIND", name=typename)
    function = Function(
        name="take",
        return_type=TypeDef(kind="VOID_KIND"),
        args=(FunctionArg(name="given", type_def=kind, default_address=address),),
    )
    async with open_a_session() as session:
        with pytest.raises(LayerlineError, match=r"not take from this machine|is of this machine"):
            await complete_in_session(session, read_config(tmp_path), function, {})
