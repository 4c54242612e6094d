"""The program that fetches source archives: from an index in both forms, a directory or a URL.

The forms are those of PEP 503 (HTML) and PEP 691 (JSON).
"""

from __future__ import annotations

import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar

import pytest

from layerline.pipeline.programs import fetch_source
from layerline.pipeline.programs.fetch_source import fetch
from tests.http_server import running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = b"the archive"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NAME = "Some_Thing-1.0.tar.gz"
REQUEST = {"name": "some-thing", "version": "1.0", "url": ""}


class Index(BaseHTTPRequestHandler):
    """An index of one project: HTML at /html/, JSON at /json/; a file needs a password."""

    seen: ClassVar[list[str]] = []

    def log_message(self, *_args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.seen.append(self.path)
        if self.path.endswith(NAME):
            known = self.headers.get("Authorization") == "Basic dXNlcjpzZWNyZXQ="
            self.answer(200 if known else 401, "application/gzip", CONTENT)
        elif self.path == "/html/some-thing/":
            other = '<a href="../../files/some_thing-1.0-py3-none-any.whl">wheel</a>'
            text = f'{other}<a href="../../files/{NAME}#sha256={DIGEST}">{NAME}</a>'
            self.answer(200, "text/html", text.encode())
        elif self.path == "/json/some-thing/":
            files = [{"url": f"/files/{NAME}", "hashes": {"sha256": DIGEST}}]
            content = json.dumps({"files": files}).encode()
            self.answer(200, "application/vnd.pypi.simple.v1+json", content)
        else:
            self.answer(404, "text/html", b"")

    def answer(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def index() -> Iterator[str]:
    with running(ThreadingHTTPServer(("127.0.0.1", 0), Index)) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in place of /mnt, with credentials for the index."""
    Index.seen.clear()
    monkeypatch.setattr(fetch_source, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(fetch_source, "ARGUMENTS", tmp_path / "arguments")
    monkeypatch.delenv("OFFLINE", raising=False)
    monkeypatch.delenv("INDEX_PAGES", raising=False)
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return tmp_path


@pytest.mark.parametrize("form", ["html", "json"])
def test_an_archive_is_found_in_an_index_by_name_and_hash(
    index: str, place: Path, form: str
) -> None:
    (place / "arguments").write_text(f"--index-url={index}/none\n--extra-index-url={index}/{form}")
    found = fetch(REQUEST, {DIGEST, "0" * 64})
    assert (found.name, found.read_bytes()) == (NAME, CONTENT)
    assert Index.seen == ["/none/some-thing/", f"/{form}/some-thing/", f"/files/{NAME}"]


def test_an_archive_is_kept_by_its_hash_and_used_offline(
    index: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "arguments").write_text(f"--index-url={index}/json")
    fetch(REQUEST, {DIGEST})
    Index.seen.clear()
    monkeypatch.setenv("OFFLINE", "1")
    assert fetch(REQUEST, {DIGEST}).read_bytes() == CONTENT
    assert Index.seen == []
    with pytest.raises(SystemExit, match=r"some-thing==1\.0 is not cached: run the same command"):
        fetch(REQUEST, {"0" * 64})


def test_a_directory_may_have_it_and_another_content_is_not_taken(index: str, place: Path) -> None:
    (place / "arguments").write_text(f"--index-url={index}/none\n--find-links={place / 'sdists'}")
    (place / "sdists").mkdir()
    (place / "sdists" / NAME).write_bytes(CONTENT + b"!")
    with pytest.raises(SystemExit) as caught:
        fetch(REQUEST, {DIGEST})
    wrong = hashlib.sha256(CONTENT + b"!").hexdigest()
    assert f"  {NAME} is sha256:{wrong}, which the lock does not have\n" in str(caught.value)
    assert "HTTP Error 404" in str(caught.value)
    (place / "sdists" / NAME).write_bytes(CONTENT)
    assert fetch(REQUEST, {DIGEST}).read_bytes() == CONTENT


def test_a_url_is_taken_as_it_is(index: str) -> None:
    request = {**REQUEST, "url": f"{index}/files/{NAME}"}
    assert fetch(request, {DIGEST}).read_bytes() == CONTENT
    assert Index.seen == [f"/files/{NAME}"]
