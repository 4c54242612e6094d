"""Kills a process at each of its file operations in turn, and checks what is left in the store.

Run as a program by test_store.py, in a process of its own, since it forks. An audit hook counts the
operations that change files and sends SIGKILL before the n-th, for n from 1 until a run completes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from layerline.engine.store.digest import digest_bytes
from layerline.engine.store.store import Store
from layerline.engine.store.writer import Writer

CHANGES = {
    "open", "os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir",
    "os.setxattr", "os.symlink", "os.truncate", "os.utime", "sqlite3.connect", "fcntl.fcntl",
}  # fmt: skip
DATA = b"data" * 5000


def main(place: Path, step: int) -> None:
    """Kill at every `step`th point; print what was found as JSON."""
    faults: list[str] = []
    acknowledged = 0
    point = trials = 0
    completed = False
    while not completed:
        point += step
        trials += 1
        root = place / f"{point}"
        lines, completed = run_and_kill(root, point)
        acknowledged += len(lines)
        faults += [f"point {point}: {fault}" for fault in find_faults(root, lines)]
    print(json.dumps({"trials": trials, "acknowledged": acknowledged, "faults": faults}))


def run_and_kill(root: Path, point: int) -> tuple[list[str], bool]:
    """What a child acknowledged before it was killed, and whether it completed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        kill_at(point)
        work(root, writing)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        lines = file.read().split()
    return lines, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def kill_at(point: int) -> None:
    """Kill this process before its n-th change of a file."""
    left = [point]

    def count(event: str, _arguments: object) -> None:
        if event in CHANGES:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def work(root: Path, acknowledge: int) -> None:
    """Store one item of each kind, and acknowledge each."""
    with Store.open(root) as store:
        store.blobs.put(DATA)
        os.write(acknowledge, b"blob\n")
        with store.snapshots.draft() as draft:
            writer = Writer(store.tree([]), draft.fs)
            writer.write("d/f", DATA)
            writer.symlink("f", "d/l")
            writer.set("d", mode=0o700)
            draft.commit("one")
        store.index.put("result", "one", {"one": 1}, snapshots=["one"])
        os.write(acknowledge, b"one\n")
        with store.snapshots.draft() as draft:
            writer = Writer(store.tree(["one"]), draft.fs)
            writer.remove("d/l")
            writer.copy(store.tree(["one"]), "/", "/copy")
            draft.commit("two")
        store.index.put("result", "two", {"two": 2}, snapshots=["one", "two"])
        os.write(acknowledge, b"two\n")
        (store.volumes.volume("v", seed=fill) / "w").touch()
        os.write(acknowledge, b"volume\n")


def fill(place: Path) -> None:
    """Fill a new volume."""
    (place / "s").write_text("s")


def find_faults(root: Path, lines: list[str]) -> list[str]:
    """The faults of the store after the kill."""
    with Store.open(root) as store:
        faults = [line for line in lines if not is_complete(store, line)]
        if (store.root / "snapshots" / "one").exists() and store.tree(["one"]).read("d/f") != DATA:
            faults.append("a half-made snapshot")
        left = [path.name for path in store.scratch.parent.iterdir()]
        if left != [store.scratch.name] or any(store.scratch.iterdir()):
            faults.append(f"left over: {left}")
    read, write = os.pipe()
    work(root, write)
    os.close(write)
    with os.fdopen(read) as file:
        if file.read().split() != ["blob", "one", "two", "volume"]:
            faults.append("the same work does not succeed afterwards")
    return faults


def is_complete(store: Store, line: str) -> bool:
    """Whether an acknowledged item is complete."""
    match line:
        case "blob":
            return store.blobs.read(digest_bytes(DATA)) == DATA
        case "one":
            tree = store.tree(["one"])
            return store.index.get("result", "one") == {"one": 1} and tree.read("d/l") == DATA
        case "two":
            tree = store.tree(["one", "two"])
            names = [entry.path for entry in tree.walk()]
            expected = ["/copy", "/copy/d", "/copy/d/f", "/copy/d/l", "/d", "/d/f"]
            return store.index.get("result", "two") == {"two": 2} and names == expected
        case _:
            names = [path.name for path in store.volumes.volume("v").iterdir()]
            return sorted(names) == ["s", "w"]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
