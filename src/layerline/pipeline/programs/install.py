"""Installs locked wheels into a prefix, so that the result is the same on every machine.

    install.py PREFIX UV [ARGUMENT ...]

runs UV with the arguments, which reads the requirements from the standard input; from the caches
alone if $OFFLINE is not empty. Then bytecode is taken away, records are sorted, and everything new
gets one time. Says on the standard output how many seconds that took, and how many bytes each
wheel had that was downloaded.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

# As the installer tells it of wheels that are not small.
DOWNLOADING = re.compile(r"^Downloading (?P<name>\S+) \((?P<size>[\d.]+)(?P<unit>[KMG]?)i?B\)")
BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
EPOCH = 315532800
NOTE = "uv_cache.json"


def normalise(prefix: pathlib.Path) -> None:
    """Take away what depends on the moment; what has the time already is not touched."""
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


def install(argv: list[str]) -> dict[str, int]:
    """Run the installer; the bytes of what it downloads, by name."""
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
        more = "Not all wheels are kept: run the same command once without --offline."
        sys.exit(more if offline else process.returncode)
    return downloaded


if __name__ == "__main__":
    begin = time.monotonic()
    downloaded = install(sys.argv[2:])
    normalise(pathlib.Path(sys.argv[1]))
    seconds = round(time.monotonic() - begin, 3)
    print(json.dumps({"seconds": seconds, "downloaded": downloaded}))
