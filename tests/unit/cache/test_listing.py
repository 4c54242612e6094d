"""The tags of a repository are listed in the background; keys wait for its first page alone."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import httpx
import pytest

from layerline.engine.cache.place import Place
from layerline.engine.image.reference import Reference
from layerline.engine.image.registry.client import Endpoint
from layerline.engine.image.registry.repository import Repository
from tests.http_server import running

if TYPE_CHECKING:
    from collections.abc import Iterator

BOUND = 30.0
PAGES = 40  # of 100 tags each, as registries with a limit of their own give them


class Pages(BaseHTTPRequestHandler):
    """A list of tags in pages (OCI distribution, end-8b); `wanted` holds back all but the first."""

    protocol_version = "HTTP/1.1"
    wanted = threading.Event()

    def do_GET(self) -> None:
        page = int(dict(httpx.URL(self.path).params).get("page", "0"))
        if page:
            self.wanted.wait(BOUND)
        data = json.dumps({"tags": [f"k-{page}-{number}" for number in range(100)]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        if page + 1 < PAGES:
            self.send_header("Link", f'</v2/x/tags/list?n=100&page={page + 1}>; rel="next"')
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def place() -> Iterator[Place]:
    Pages.wanted.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    with running(server) as port, httpx.Client() as client:
        address = f"127.0.0.1:{port}"
        endpoint = Endpoint(client=client, base=httpx.URL(f"http://{address}"))
        repository = Repository(endpoint, Reference.parse(f"{address}/x"))
        yield Place(
            name="x",
            repository=repository,
            written=repository,
            report=lambda _: None,
            listing_seconds=BOUND,
        )
        Pages.wanted.set()


def test_a_key_does_not_wait_for_all_pages(place: Place) -> None:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(place.may_have, "k-none")
        assert asked.result(BOUND / 3)  # it is asked for
    assert not place.listing.done()
    Pages.wanted.set()
    tags = place.tags()
    assert tags is not None
    assert len(tags) == 100 * PAGES
    assert not place.may_have("k-none")
    assert place.may_have(f"k-{PAGES - 1}-99")
