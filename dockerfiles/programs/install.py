"""Installs locked wheels into a prefix, so that the result is the same on every machine.

    install.py PREFIX UV [ARGUMENT ...]

runs UV with the arguments, which reads the requirements from the standard input. Then bytecode is
taken away, records are sorted, and everything new gets one time. Says on the standard output how
many seconds that took.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

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


if __name__ == "__main__":
    begin = time.monotonic()
    subprocess.run(sys.argv[2:], check=True, stdout=sys.stderr)
    normalise(pathlib.Path(sys.argv[1]))
    print(json.dumps({"seconds": round(time.monotonic() - begin, 3)}))
