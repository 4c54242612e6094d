"""The image's files are no more than so many megabytes (of 10^6 bytes).

budget.py MEGABYTES
"""

import os
import pathlib
import sys

MEGABYTE = 10**6

device = pathlib.Path("/").lstat().st_dev
seen: set[tuple[int, int]] = set()
total = 0
pending = [pathlib.Path("/")]
while pending:
    with os.scandir(pending.pop()) as listing:
        for entry in listing:
            status = entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                if pathlib.Path(entry.path).lstat().st_dev == device:
                    pending.append(pathlib.Path(entry.path))
            elif (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_size
allowed = int(sys.argv[1]) * MEGABYTE
if total > allowed:
    sys.exit(f"the image has {total / MEGABYTE:.1f} MB, its budget is {sys.argv[1]} MB")
print(f"{total / MEGABYTE:.0f} of {sys.argv[1]} MB")
