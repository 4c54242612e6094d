"""Places for results: made when missing, and tried before work goes into what cannot be kept."""

import os
import tempfile
from pathlib import Path

from ct_scan_mlops.errors import OutputUnwritable


def output_directory(path: Path) -> Path:
    """The directory, which now exists and in which a file has just been made and removed again."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as failure:
        raise OutputUnwritable(_explained(path, failure)) from failure
    return path


def write_whole(path: Path, data: bytes) -> None:
    """The file appears with all its bytes or not at all, whatever was there before."""
    unfinished = path.with_name(f".{path.name}.partial")
    try:
        unfinished.write_bytes(data)
        unfinished.replace(path)
    except OSError as failure:
        raise OutputUnwritable(_explained(path, failure)) from failure


def _explained(path: Path, failure: OSError) -> str:
    """Names the nearest directory there is: it is the one whose owner decides."""
    nearest = path.absolute().parent if path.is_file() else path.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    found = nearest.stat()
    ours = f"{os.geteuid()}:{os.getegid()}"
    what = f"{path} cannot be written ({failure.strerror})."
    if not nearest.is_dir():
        return f"{what} {nearest} is a file. Name another directory."
    whose = f"{nearest} belongs to {found.st_uid}:{found.st_gid}, this process runs as {ours}."
    return (
        f"{what} {whose} Mount it writable; on the host run chown {ours} on it, or start the "
        f"container with --user {found.st_uid}:{found.st_gid}."
    )
