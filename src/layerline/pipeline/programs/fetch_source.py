"""Fetches the source archive of a locked package, known by its hash, and runs none of its code.

    fetch_source.py DIRECTORY

The request comes as JSON on stdin: name and version, hashes, and a URL or an empty text. Without a
URL the archive is looked for where the installer looks (PEP 503, PEP 691): in the indexes and
directories of the file /mnt/arguments and the pages in $INDEX_PAGES. It is kept in the cache
volume; if $OFFLINE is not empty, nothing else is used.
"""

import hashlib
import html
import importlib
import json
import netrc
import os
import pathlib
import re
import shutil
import sys
import time
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from typing import NamedTuple

ARGUMENTS = pathlib.Path("/mnt/arguments")
KEPT = pathlib.Path("/mnt/sources")
# The default index is that of pip, which is next to the interpreter that runs this.
PIP_INDEX = "pip._internal.models.index"
ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
SUFFIX = re.compile(r"\.(tar\.gz|tgz|tar\.bz2|tar\.xz|zip)$")
# The anchors of a page of links (PEP 503).
HREF = re.compile(r"""<a\s[^>]*?href\s*=\s*["']([^"']+)""", re.IGNORECASE)
SECONDS = 60.0
TRIES = 4


class Link(NamedTuple):
    """A file that an index names; the hash is empty where it says none."""

    url: str
    hash: str

    @property
    def name(self) -> str:
        """The name of the file."""
        return urllib.parse.unquote(urllib.parse.urlsplit(self.url).path.rpartition("/")[2])


def normal(text: str) -> str:
    """A name or version for comparing."""
    return re.sub(r"[-_.]+", "-", text).lower()


def read(url: str, accept: str = "*/*") -> tuple[bytes, str, str]:
    """The content of a URL with its type and final address; the host's credentials are sent."""
    request = urllib.request.Request(url, headers={"Accept": accept})
    place = pathlib.Path(os.environ.get("NETRC", "/mnt/netrc"))
    host = urllib.parse.urlsplit(url).hostname or ""
    known = netrc.netrc(place).authenticators(host) if place.exists() else None
    if known:
        pair = b64encode(f"{known[0]}:{known[2]}".encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {pair}")
    for left in reversed(range(TRIES)):
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                return answer.read(), answer.headers.get_content_type(), answer.url
        except OSError as exc:
            if not left or getattr(exc, "code", 500) < 500:
                raise
            time.sleep(TRIES - left)
    raise AssertionError


def links(page: str) -> Iterator[Link]:
    """Yield what a page or a directory names."""
    if page.startswith("/"):
        if not pathlib.Path(page).exists():
            sys.exit(f"{page} is missing from the cache volume")
        yield from (Link(path.as_uri(), "") for path in pathlib.Path(page).iterdir())
        return
    content, kind, address = read(page, ACCEPT)
    if kind.endswith("json"):
        for each in json.loads(content)["files"]:
            url = urllib.parse.urljoin(address, each["url"])
            yield Link(url, each.get("hashes", {}).get("sha256", ""))
        return
    for href in HREF.findall(content.decode(errors="replace")):
        link = html.unescape(href)
        url, _, fragment = urllib.parse.urljoin(address, link).partition("#")
        yield Link(url, fragment.partition("sha256=")[2])


def pages(name: str) -> Iterator[str]:
    """Yield where the archive may be."""
    argv = ARGUMENTS.read_text().split("\n") if ARGUMENTS.exists() else []
    if not any(arg.startswith("--index-url=") for arg in argv):
        argv.append(f"--index-url={importlib.import_module(PIP_INDEX).PyPI.simple_url}")
    yield from (arg.partition("=")[2] for arg in argv if arg.startswith("--find-links="))
    yield from os.environ.get("INDEX_PAGES", "").split()
    for arg in argv:
        if arg.startswith(("--index-url=", "--extra-index-url=")):
            yield f"{arg.partition('=')[2].rstrip('/')}/{name}/"


def candidates(request: dict[str, str], failures: list[str]) -> Iterator[Link]:
    """Yield the archives of the version; pages that cannot be read are added to `failures`."""
    wanted = normal(f"{request['name']}-{request['version']}")
    for page in pages(request["name"]):
        try:
            found = list(links(page))
        except OSError as exc:
            failures.append(f"  {page}: {exc}")
            continue
        for each in found:
            if SUFFIX.search(each.name) and normal(SUFFIX.sub("", each.name)) == wanted:
                yield each


def fetch(request: dict[str, str], hashes: set[str]) -> pathlib.Path:
    """The archive in the cache volume, whose content has one of the hashes; any without hashes."""
    for digest in sorted(hashes):
        for kept in (KEPT / digest).glob("*"):
            return kept
    pinned = f"{request['name']}=={request['version']}"
    if os.environ.get("OFFLINE"):
        sys.exit(
            f"the source of {pinned} is not cached: run the same command once without --offline."
        )
    failures: list[str] = []
    url = request["url"]
    for link in [Link(url, "")] if url else candidates(request, failures):
        if hashes and link.hash and link.hash not in hashes:
            continue
        try:
            content, _, _ = read(link.url)
        except OSError as exc:
            failures.append(f"  {link.name}: {exc}")
            continue
        digest = hashlib.sha256(content).hexdigest()
        if not hashes or digest in hashes:
            (KEPT / digest).mkdir(parents=True, exist_ok=True)
            part = KEPT / f"{digest}.part-{os.getpid()}"
            part.write_bytes(content)
            return part.rename(KEPT / digest / link.name)
        failures.append(f"  {link.name} is sha256:{digest}, which the lock does not have")
    said = failures or ["  no index has a source archive of it"]
    sys.exit("\n".join([f"the source of {pinned} was not found:", *said]))


if __name__ == "__main__":
    if bundle := os.environ.get("CA_BUNDLE"):
        if not pathlib.Path(bundle).exists():
            sys.exit(f"{bundle} is missing from the cache volume")
        os.environ["SSL_CERT_FILE"] = bundle
    request = json.load(sys.stdin)
    archive = fetch(request, {each.removeprefix("sha256:") for each in request["hashes"]})
    place = pathlib.Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(archive, place / archive.name)
    os.utime(place / archive.name, (315532800, 315532800))
