"""Indexes for some packages: only their pages are read, and one that is not reached is left out."""

from __future__ import annotations

import contextlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from layerline.pipeline.definition import parse_definition
from layerline.pipeline.diagnostics import DefinitionError
from layerline.pipeline.programs import install, resolve_or_explain_conflict
from tests.http_server import running

if TYPE_CHECKING:
    from collections.abc import Iterator

TOML = """\
[targets.cpu]
indexes = [{ url = "http://127.0.0.1:9/cpu/", packages = ["torch", "torchvision"] }]
[groups.core]
requirements = ["numpy"]
[images.small]
target = "cpu"
groups = ["core"]
"""


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/cpu/torch/" else 403)
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def index() -> Iterator[str]:
    with running(ThreadingHTTPServer(("127.0.0.1", 0), Page)) as port:
        yield f"http://127.0.0.1:{port}/cpu"


def test_pages_are_those_of_the_listed_packages_alone() -> None:
    # As uv's `explicit = true`: https://docs.astral.sh/uv/concepts/indexes/#pinning-a-package-to-an-index
    target = parse_definition(TOML).target("cpu")
    assert target.pages() == (
        "http://127.0.0.1:9/cpu/torch/",
        "http://127.0.0.1:9/cpu/torchvision/",
    )
    assert target.pages(["torch", "numpy"]) == ("http://127.0.0.1:9/cpu/torch/",)


@pytest.mark.parametrize("url", ["ftp://x/simple", "https://me:hidden@x.example/simple"])
def test_an_url_that_is_not_one_or_holds_a_password_is_refused(url: str) -> None:
    with pytest.raises(DefinitionError, match=r"layerline.toml:2: targets.cpu.indexes"):
        parse_definition(TOML.replace("http://127.0.0.1:9/cpu/", url))


@pytest.mark.parametrize("program", [install, resolve_or_explain_conflict])
def test_a_page_that_is_not_reached_costs_one_warning(
    program: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with index() as url:
        monkeypatch.setenv("INDEX_PAGES", f"{url}/torch/ {url}/other/ http://127.0.0.1:9/x/")
        monkeypatch.setenv("OFFLINE", "")
        assert list(program.reached_pages()) == [f"--find-links={url}/torch/"]  # type: ignore[attr-defined]
        said = capsys.readouterr().err.splitlines()
        assert [line.partition(" is left out: ")[0] for line in said] == [
            f"warning: {url}/other/",
            "warning: http://127.0.0.1:9/x/",
        ]
        monkeypatch.setenv("OFFLINE", "1")
        assert list(program.reached_pages()) == []  # type: ignore[attr-defined]
