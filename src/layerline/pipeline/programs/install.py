"""Installs locked wheels into a prefix reproducibly.

    install.py PREFIX UV [ARGUMENT ...]

Runs UV with the arguments and those of the file /mnt/arguments, one in each line; it reads the
requirements from stdin, trusts the certificates in $CA_BUNDLE if that is not empty, and uses only
its cache if $OFFLINE is not empty. Then removes bytecode, sorts the RECORD files and gives all new
files one timestamp. Prints the seconds that this took and the bytes of each downloaded wheel.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

# uv prints this for large wheels.
DOWNLOADING = re.compile(r"^Downloading (?P<name>\S+) \((?P<size>[\d.]+)(?P<unit>[KMG]?)i?B\)")
BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
EPOCH = 315532800
NOTE = "uv_cache.json"
PAGE_SECONDS = 5.0
# Layers are installed at the same time: 50 connections for each, as uv opens, are too many for a
# proxy or a registry, which then lets the rest time out. One that did is tried more often.
CONNECTIONS = "4"
RETRIES = "6"
ARGUMENTS = pathlib.Path("/mnt/arguments")


def normalise(prefix: pathlib.Path) -> None:
    """Remove what differs between installations; files with the timestamp are not touched."""
    for cache in sorted(prefix.rglob("__pycache__")):
        shutil.rmtree(cache)
    for record in prefix.rglob("*.dist-info/RECORD"):
        # The installer's note about where a wheel lay, with that file's own time.
        record.with_name(NOTE).unlink(missing_ok=True)
        lines = sorted(record.read_text().splitlines(keepends=True))
        noted = f"{record.parent.name}/{NOTE},"
        record.write_text("".join(line for line in lines if not line.startswith(noted)))
    for path in (*prefix.rglob("*"), prefix):
        if int(path.lstat().st_mtime) != EPOCH:
            os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)


def given_arguments() -> list[str]:
    """Where this machine has wheels from; none where nobody says so."""
    argv = ARGUMENTS.read_text().split("\n") if ARGUMENTS.exists() else []
    places = [arg.removeprefix("--find-links=") for arg in argv if arg.startswith("--find-links=/")]
    for place in [*places, os.environ.get("CA_BUNDLE", "")]:
        if place and not pathlib.Path(place).exists():
            sys.exit(f"{place} is missing from the cache volume")
    return [arg for arg in argv if arg]


def reached_pages() -> Iterator[str]:
    """Yield the pages of single packages that can be reached, as an argument each."""
    pages = [] if os.environ.get("OFFLINE") else os.environ.get("INDEX_PAGES", "").split()
    for page in pages:
        try:
            urllib.request.urlopen(page, timeout=PAGE_SECONDS).close()
        except OSError as exc:
            print(f"warning: {page} is left out: {exc}", file=sys.stderr)
        else:
            yield f"--find-links={page}"


def trust() -> None:
    """Let programs that are started trust the user's own certificates."""
    if bundle := os.environ.get("CA_BUNDLE"):
        os.environ.update(SSL_CERT_FILE=bundle, PIP_CERT=bundle)


def install(argv: list[str]) -> dict[str, int]:
    """Run the installer; return the bytes of its downloads by package."""
    offline = ["--offline"] if os.environ.get("OFFLINE") else []
    downloaded: dict[str, int] = {}
    with subprocess.Popen(
        [*argv, *offline], stdout=sys.stderr, stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stderr or ():
            print(line, end="", file=sys.stderr, flush=True)
            if found := DOWNLOADING.match(line):
                downloaded[found["name"]] = round(float(found["size"]) * BYTES[found["unit"]])
    if process.returncode:
        more = "not all wheels are cached: run the same command once without --offline."
        sys.exit(more if offline else process.returncode)
    return downloaded


if __name__ == "__main__":
    begin = time.monotonic()
    trust()
    os.environ.setdefault("UV_CONCURRENT_DOWNLOADS", CONNECTIONS)
    os.environ.setdefault("UV_HTTP_RETRIES", RETRIES)
    downloaded = install([*sys.argv[2:], *given_arguments(), *reached_pages()])
    normalise(pathlib.Path(sys.argv[1]))
    seconds = round(time.monotonic() - begin, 3)
    print(json.dumps({"seconds": seconds, "downloaded": downloaded}))
