"""Unix sockets of the host in containers."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from tests.unit.conftest import OpenSession, ask, fail

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.engine.api.session import Session


async def unix_socket(session: Session, path: str) -> str:
    found = await ask(session, f'{{ host {{ unixSocket(path: "{path}") {{ id }} }} }}')
    identifier: str = found["host"]["unixSocket"]["id"]
    return identifier


async def test_a_socket_is_mounted_and_taken_away(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        async with open_a_session() as session:
            own = await unix_socket(session, "s")
            query = """query($own: ID!) { container { id withUnixSocket(path: "/s", source: $own) {
                id mounts withoutUnixSocket(path: "/s") { id } } } }"""
            plain = (await ask(session, query, own=own))["container"]
    mounted = plain["withUnixSocket"]
    assert mounted["mounts"] == []  # like secrets, sockets are not listed
    assert mounted["id"] != plain["id"]
    assert mounted["withoutUnixSocket"]["id"] == plain["id"]


async def test_what_is_no_socket_is_refused(open_a_session: OpenSession, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with open_a_session() as session:
        wrong = await fail(session, '{ host { unixSocket(path: "file") { id } } }')
        missing = await fail(session, '{ host { unixSocket(path: "nothing") { id } } }')
    assert "is not a unix socket" in wrong["message"]
    assert "no such file or directory" in missing["message"]
