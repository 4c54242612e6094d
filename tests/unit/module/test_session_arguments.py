"""Defaults that a module chose give it nothing of the caller's machine."""

from __future__ import annotations

import itertools
import json
import socket
import socketserver
import threading
from typing import TYPE_CHECKING, Any

import pytest

from layerline.engine.module.definitions import Function, FunctionArg, TypeDef
from layerline.engine.module.session_arguments import complete_in_session
from layerline.engine.module.source import read_config
from layerline.errors import LayerlineError
from tests.unit.api.test_reach import serve

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
        ("Directory", "http://127.0.0.1:{port}/x.git"),
        ("GitRef", "/work"),
        ("Container", "127.0.0.1:{port}/image"),
    ],
)
async def test_a_default_address_is_of_elsewhere(
    open_a_session: OpenSession, tmp_path: Path, typename: str, address: str
) -> None:
    requests: list[str] = []
    with serve(requests) as port:
        await take_default(open_a_session, tmp_path, typename, address.format(port=port))
    assert requests == []


@pytest.mark.parametrize("failures", [0, 1])
async def test_what_a_name_meant_before_the_connection_does_not_count(
    open_a_session: OpenSession, tmp_path: Path, failures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookups = itertools.count()
    look_up = socket.getaddrinfo

    def changing(host: str, *more: Any, **options: Any) -> Any:  # noqa: ANN401
        if host != "changing.example":
            return look_up(host, *more, **options)
        if next(lookups) < failures:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up("127.0.0.1", *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", changing)
    received: list[bytes] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            received.append(self.request.recv(1))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"changing.example:{server.server_address[1]}/image"
        await take_default(open_a_session, tmp_path, "Container", address, said="changing|machine")
        server.shutdown()
    assert [data for data in received if data] == []  # not even a greeting of TLS


async def take_default(
    open_a_session: OpenSession,
    tmp_path: Path,
    typename: str,
    address: str,
    said: str = r"not take from this machine|is of this machine",
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
        with pytest.raises(LayerlineError, match=said):
            await complete_in_session(session, read_config(tmp_path), function, {})
