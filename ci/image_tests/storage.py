"""A stand-in for Google Cloud Storage: the files of a directory as the objects of every bucket.

storage.py PORT DIRECTORY. It answers what reading takes, without any credentials.
"""

from __future__ import annotations

import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

OBJECT = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)")
RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class Answers(BaseHTTPRequestHandler):
    """Requests for objects."""

    root: Path

    def do_GET(self) -> None:
        """An object's description, its content, or a part of that."""
        address = urlsplit(self.path)
        asked = OBJECT.fullmatch(address.path.removeprefix("/download"))
        path = self.root / Path(unquote(asked[2])).name if asked else self.root / "absent"
        if asked is None or not path.is_file():
            self._answer(404, b'{"error": {"code": 404, "message": "Not Found"}}')
        elif parse_qs(address.query).get("alt") == ["media"]:
            self._content(path.read_bytes())
        else:
            self._answer(200, json.dumps(_metadata(asked[1], unquote(asked[2]), path)).encode())

    def _content(self, data: bytes) -> None:
        part = RANGE.fullmatch(self.headers.get("range", ""))
        if part is None:
            self._answer(200, data)
            return
        end = int(part[2]) + 1 if part[2] else len(data)
        self._answer(206, data[int(part[1]) : end])

    def _answer(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _metadata(bucket: str, name: str, path: Path) -> dict[str, str]:
    return {
        "kind": "storage#object",
        "bucket": bucket,
        "name": name,
        "size": str(path.stat().st_size),
        "generation": "1",
        "contentType": "application/octet-stream",
    }


if __name__ == "__main__":
    Answers.root = Path(sys.argv[2])
    ThreadingHTTPServer(("", int(sys.argv[1])), Answers).serve_forever()
