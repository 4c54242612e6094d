"""Splits a layer that is larger than it may be, by package.

    split_layer.py PREFIX BYTES

Prints a JSON list with the patterns of each part, none if the layer is small enough. Packages go
into the parts in the order of their names, and a part ends where the next package would make it
larger than BYTES. What no package names (RECORD, PEP 376) is in the first part.
"""

import csv
import json
import os
import pathlib
import stat
import sys

SPECIAL = "\\*?[]!"
BLOCK = 512  # of a tar, which each file fills and has before it


def packages(prefix: pathlib.Path) -> dict[str, str]:
    """The package of each file, by paths below the prefix."""
    found = {}
    for record in sorted(prefix.rglob("*.dist-info/RECORD")):
        site = record.parent.parent.relative_to(prefix)
        for row in csv.reader(record.read_text().splitlines()):
            if row:
                found[os.path.normpath(site / row[0])] = record.parent.name.partition("-")[0]
    return found


def is_leaf(path: pathlib.Path) -> bool:
    """Whether nothing is below a path: a file, a link, an empty directory."""
    return path.is_symlink() or not path.is_dir() or not any(path.iterdir())


def weigh(path: pathlib.Path) -> int:
    """The bytes of a file, link or directory in a tar."""
    status = path.lstat()
    size = status.st_size if stat.S_ISREG(status.st_mode) else 0
    return BLOCK + size + -size % BLOCK


def parts(sizes: dict[str, int], limit: int) -> dict[str, int]:
    """The part of each package."""
    place, filled, found = 0, 0, {}
    for name in sorted(sizes):
        if sizes[name] > limit:
            sys.exit(
                f"{name or 'the part without a package'} takes {sizes[name]} bytes: "
                f"more than the {limit} of max_layer_mb"
            )
        if filled and filled + sizes[name] > limit:
            place, filled = place + 1, 0
        found[name], filled = place, filled + sizes[name]
    return found


def patterns(names: dict[str, int]) -> list[list[str]]:
    """The fewest patterns for each part: directories that are in one part alone, then files."""
    children: dict[str, dict[str, set[int]]] = {}
    for path, place in names.items():
        steps = path.split("/")
        for depth in range(len(steps)):
            above, below = "/".join(steps[:depth]), "/".join(steps[: depth + 1])
            children.setdefault(above, {}).setdefault(below, set()).add(place)
    found: list[list[str]] = [[] for _ in range(max(names.values()) + 1)]
    waiting = [""]
    while waiting:
        for path, places in sorted(children[waiting.pop()].items()):
            if len(places) > 1:
                waiting.append(path)
            else:
                found[places.pop()].append(escape(path))
    return [sorted(each) for each in found]


def escape(path: str) -> str:
    """A pattern that matches this path alone."""
    return "".join(f"\\{char}" if char in SPECIAL else char for char in path)


def main() -> None:
    """Print the parts."""
    prefix, limit = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    owners = packages(prefix)
    files = [path for path in prefix.rglob("*") if is_leaf(path)]
    owner = {str(path.relative_to(prefix)): "" for path in files}
    owner.update({path: owners[path] for path in owner if path in owners})
    sizes: dict[str, int] = {}
    for path, name in owner.items():
        sizes[name] = sizes.get(name, 0) + weigh(prefix / path)
    if sum(sizes.values()) <= limit:
        print("[]")
        return
    places = parts(sizes, limit)
    print(json.dumps(patterns({path: places[name] for path, name in owner.items()})))


if __name__ == "__main__":
    main()
