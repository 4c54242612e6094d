"""The image's files are no more than so many megabytes (of 10^6 bytes).

budget.py MEGABYTES
budget.py MEGABYTES PLACE         prints the bytes of all files that are not below a directory
budget.py MEGABYTES PLACE BYTES   counts the files below it, and so many bytes for the others
"""

import os
import pathlib
import sys
from collections.abc import Collection

MEGABYTE = 10**6


def size(top: pathlib.Path, left_out: Collection[str] = ()) -> int:
    """The bytes of the files below a directory, on its file system; each file counts once."""
    device = pathlib.Path("/").lstat().st_dev
    seen: set[tuple[int, int]] = set()
    total = 0
    pending = [top] if top.is_dir() and not top.is_symlink() else []
    while pending:
        with os.scandir(pending.pop()) as listing:
            for entry in listing:
                status = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    if (
                        entry.path not in left_out
                        and pathlib.Path(entry.path).lstat().st_dev == device
                    ):
                        pending.append(pathlib.Path(entry.path))
                elif (status.st_dev, status.st_ino) not in seen:
                    seen.add((status.st_dev, status.st_ino))
                    total += status.st_size
    return total


def main(megabytes: str, place: str = "", elsewhere: str = "") -> None:
    """Compare the size with the budget, or print what a later run takes as known."""
    if elsewhere:
        total = int(elsewhere) + size(pathlib.Path(place))
    else:
        total = size(pathlib.Path("/"), {place})
    if total > int(megabytes) * MEGABYTE:
        sys.exit(f"the image has {total / MEGABYTE:.1f} MB, its budget is {megabytes} MB")
    print(total if place and not elsewhere else f"{total / MEGABYTE:.0f} of {megabytes} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])
