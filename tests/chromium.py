"""Debian's Chromium without a window: pages as it lays them out."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from layerline import command
from layerline.errors import LayerlineError

if TYPE_CHECKING:
    from pathlib import Path

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars"),
)
LONGEST_SECONDS = 90.0
# Headless windows have a least width; a frame in one has none.
FRAME = """\
<!doctype html><body style="margin:0"><iframe id="frame" srcdoc="{page}"
style="border:0;width:{width}px;height:{height}px"></iframe>
<pre id="answer"></pre>
<script>
window.onload = () => {{
  const page = document.getElementById("frame").contentDocument;
  document.getElementById("answer").textContent = "answer:" + JSON.stringify({script});
}};
</script></body>
"""


@functools.cache
def no_chromium() -> str:
    """Why Chromium does not run here; empty if it does."""
    if command.find("chromium") is None:
        return "chromium is not installed"
    with tempfile.TemporaryDirectory() as profile:
        try:
            _run(profile, "--dump-dom", "about:blank")
        except LayerlineError as exc:
            return f"chromium does not run here: {exc}"
    return ""


def _run(profile: str | Path, *words: str) -> str:
    argv: list[str | Path] = ["chromium", *FLAGS, f"--user-data-dir={profile}", *words]
    return command.run(argv, timeout=LONGEST_SECONDS).stdout.decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chromium:
    """The browser with files of its own."""

    place: Path

    def evaluate(self, text: str, script: str, *, width: int, height: int = 800) -> str:
        """What a script finds in a page of that width: JSON. `page` is the page's document."""
        framed = FRAME.format(page=escape(text), width=width, height=height, script=script)
        path = self.place / "frame.html"
        path.write_text(framed)
        said = _run(self.place / "profile", "--dump-dom", path.as_uri())
        return said.partition('<pre id="answer">answer:')[2].partition("</pre>")[0]
