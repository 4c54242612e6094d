"""Places for results: made when missing, and tried before hours of work go into what cannot be kept."""

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


def _explained(path: Path, failure: OSError) -> str:
    """Names the nearest directory there is: it is the one whose owner decides."""
    nearest = path.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    found = nearest.stat()
    ours = f"{os.geteuid()}:{os.getegid()}"
    what = f"{path} cannot be written ({failure.strerror})."
    if not nearest.is_dir():
        return f"{what} {nearest} is a file. Name another directory."
    whose = f"{nearest} belongs to {found.st_uid}:{found.st_gid}, this process runs as {ours}."
    return (
        f"{what} {whose} Mount it writable; on the host run chown {ours} on it, or start the container "
        f"with --user {found.st_uid}:{found.st_gid}."
    )
