"""The tags of a repository are listed in the background; keys wait for its first page alone."""

from __future__ import annotations

import contextlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar

import httpx
import pytest

from layerline.engine.cache.place import Place
from layerline.engine.image.reference import Reference
from layerline.engine.image.registry.client import Endpoint
from layerline.engine.image.registry.credentials import Login
from layerline.engine.image.registry.repository import Repository
from tests.http_server import running

if TYPE_CHECKING:
    from collections.abc import Iterator

BOUND = 30.0
PAGES = 40  # of 100 tags each, as registries with a limit of their own give them


class Pages(BaseHTTPRequestHandler):
    """A list of tags in pages (OCI distribution, end-8b); `wanted` holds back all but the first.

    It wants a login, and counts in `asked` what it is asked.
    """

    protocol_version = "HTTP/1.1"
    wanted = threading.Event()
    asked: ClassVar[list[str]] = []
    pages = PAGES

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if "Authorization" not in self.headers:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        page = int(dict(httpx.URL(self.path).params).get("page", "0"))
        if page or self.pages == 1:
            self.wanted.wait(BOUND)
        data = json.dumps({"tags": [f"k-{page}-{number}" for number in range(100)]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        if page + 1 < self.pages:
            self.send_header("Link", f'</v2/x/tags/list?n=100&page={page + 1}>; rel="next"')
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Page(Pages):
    """A list of one page."""

    pages = 1


@contextlib.contextmanager
def listed(handler: type[Pages]) -> Iterator[Place]:
    Pages.wanted.clear()
    Pages.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with running(server) as port, httpx.Client() as client:
        address = f"127.0.0.1:{port}"
        login = Login(username="me", secret="secret")
        endpoint = Endpoint(client=client, base=httpx.URL(f"http://{address}"), login=login)
        repository = Repository(endpoint, Reference.parse(f"{address}/x"))
        yield Place(
            name="x",
            repository=repository,
            written=repository,
            report=lambda _: None,
            listing_seconds=BOUND,
        )
        Pages.wanted.set()


@pytest.fixture
def place() -> Iterator[Place]:
    with listed(Pages) as place:
        yield place


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


def test_misses_cost_two_round_trips_however_many_keys_are_asked_at_once() -> None:
    """The challenge to log in and the list of the tags; then nothing for any key."""
    began = threading.Barrier(33)

    def ask(there: Place, number: int) -> list[bool]:
        began.wait(BOUND)
        return [there.may_have(f"k-none-{number}-{each}") for each in range(30)]

    with listed(Page) as there, ThreadPoolExecutor(32) as pool:
        found = [pool.submit(ask, there, number) for number in range(32)]
        began.wait(BOUND)
        Pages.wanted.set()
        assert not any(any(each.result(BOUND)) for each in found)
        assert len(Pages.asked) == 2
