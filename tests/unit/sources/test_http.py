"""Downloads are complete and match the request, or fail."""

from __future__ import annotations

import hashlib
import http.server
from typing import TYPE_CHECKING

import pytest

from layerline.engine.sources.http import DownloadRequest, fetch, file_name
from layerline.engine.store.store import Store
from layerline.errors import QueryError
from layerline.settings import Settings
from tests.http_server import running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = b"fetched"
DATE = "Mon, 05 Jan 2026 10:00:00 GMT"


class Pages(http.server.BaseHTTPRequestHandler):
    """A page, a redirect to it, and a truncated one."""

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/d/page")
        elif self.path == "/nope":
            self.send_response(404)
        else:
            self.send_response(200)
            self.send_header("Last-Modified", DATE)
            extra = 5 if self.path == "/cut" else 0
            self.send_header("Content-Length", str(len(BODY) + extra))
        self.end_headers()
        if self.path in ("/d/page", "/cut"):
            self.wfile.write(BODY)

    def log_message(self, *_arguments: object) -> None:
        """Stay quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    with running(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(store=tmp_path / "store", home=tmp_path, config=tmp_path / "none")


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with Store.open(settings.store) as opened:
        yield opened


@pytest.mark.parametrize("path", ["/d/page", "/moved"])
def test_a_page_becomes_a_file(store: Store, settings: Settings, server: str, path: str) -> None:
    download = fetch(store, settings, DownloadRequest(url=server + path, name="x", mode=0o755))
    entry = store.tree([download.snapshot]).lookup("/x")
    assert entry.read() == BODY
    assert entry.mode == 0o755
    assert entry.stat.st_mtime == 1767607200


def test_the_same_bytes_are_the_same_layer(store: Store, settings: Settings, server: str) -> None:
    one, other = (
        fetch(store, settings, DownloadRequest(url=server + path, name="x"))
        for path in ("/d/page", "/moved")
    )
    assert one == other


def test_the_checksum_is_held_to(store: Store, settings: Settings, server: str) -> None:
    right = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
    fetch(store, settings, DownloadRequest(url=f"{server}/d/page", name="x", checksum=right))
    with pytest.raises(QueryError, match="digest mismatch"):
        fetch(
            store,
            settings,
            DownloadRequest(url=f"{server}/d/page", name="x", checksum=right[:-1] + "x"),
        )


@pytest.mark.parametrize(("path", "message"), [("/nope", "404"), ("/cut", "failed to load")])
def test_a_failed_download_stores_nothing(
    store: Store, settings: Settings, server: str, path: str, message: str
) -> None:
    with pytest.raises(QueryError, match=message):
        fetch(store, settings, DownloadRequest(url=server + path, name="x"))
    assert list((store.root / "snapshots").iterdir()) == []


def test_names_come_from_the_path() -> None:
    assert file_name("http://h/d/some%20file?x=1", "index") == "some file"
    assert file_name("http://h", "index") == "index"
    with pytest.raises(QueryError, match="use a URL with http"):
        file_name("file:///etc/passwd", "index")
