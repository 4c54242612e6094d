"""What large inputs cost: wall time, and the peak memory of the engine's largest process.

    .venv/bin/python -m benchmarks.scale [NAME …]

Each measure has a store of its own, in the temporary directory, and is given back at once; `large`
needs about 10 GB there for a while.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import BASE, MIB, ROOT, Bench, Session, family
from layerline.settings import process_environ

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILES = 100_000
LARGE = 3 << 30


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one thing cost: seconds, and the engine's peak memory in MiB."""

    what: str
    seconds: float
    memory: float

    def line(self) -> str:
        """A row of the table."""
        return f"{self.what:<52} {self.seconds:>8.2f} s {self.memory:>8.0f} MiB"


def cost(session: Session, what: str, query: str) -> Cost:
    """Ask, and look at the engine afterwards."""
    seconds = session.ask(query)
    return Cost(what=what, seconds=seconds, memory=max(map(_peak, family(session.process))) / MIB)


def chain(bench: Bench) -> Iterator[Cost]:
    """Eighty execs, one after the other, and the same chain in another session."""
    unique = uuid.uuid4().hex
    for what in ("80 execs in a chain", "the same in another session"):
        with bench.session() as session:
            session.ask(session.chain(unique="warm", execs=1))
            yield cost(session, what, session.chain(unique=unique, execs=80))


def parallel(bench: Bench) -> Iterator[Cost]:
    """Two hundred different execs, asked for at once."""
    with bench.session() as session:
        session.ask(session.chain(unique="warm", execs=1))
        unique = uuid.uuid4().hex
        chains = (session.chain(unique=f"{unique}{n}", execs=1) for n in range(200))
        fields = (f"a{n}: {each[1:-1].strip()}" for n, each in enumerate(chains))
        yield cost(session, "200 execs in parallel", "{ " + " ".join(fields) + " }")


def files(bench: Bench) -> Iterator[Cost]:
    """A directory of 100,000 files of the host: first, and again in another session."""
    source = bench.place / "files"
    for number in range(FILES // 500):
        part = source / f"d{number}"
        part.mkdir(parents=True)
        for each in range(500):
            (part / f"f{each}").write_text(f"{number} {each}\n")
    query = f'{{ host {{ directory(path: "{source}") {{ id }} }} }}'
    for what in ("100,000 host files, first", "100,000 host files, again"):
        with bench.session() as session:
            session.ask("{ version }")
            yield cost(session, what, query)


def large(bench: Bench) -> Iterator[Cost]:
    """A file of 3 GB: imported, read through a mount by an exec, and exported again."""
    source = bench.place / "large"
    source.mkdir()
    block = uuid.uuid4().bytes * (MIB // 16)
    with (source / "data").open("wb") as out:
        for number in range(LARGE // MIB):
            out.write(number.to_bytes(8, "big") + block[8:])
    file = f'host {{ file(path: "{source}/data") '
    read = json.dumps(["sh", "-c", "cat /data | wc -c"])
    with bench.session() as session:
        session.ask(session.chain(unique="warm", execs=1))
        yield cost(session, "3 GB file, imported", f"{{ {file} {{ id }} }} }}")
        own = session.get(f"{{ {file} {{ id }} }} }}")["host"]["file"]["id"]
        mounted = f'withMountedFile(path: "/data", source: "{own}")'
        query = (
            f'{{ container {{ from(address: "{BASE}") {{ {mounted} '
            f"{{ withExec(args: {read}) {{ stdout }} }} }} }} }}"
        )
        yield cost(session, "3 GB file, read through a mount", query)
        target = bench.place / "exported"
        export = f'export(path: "{target}")'
        yield cost(session, "3 GB file, exported", f"{{ {file} {{ {export} }} }} }}")
    if target.stat().st_size != LARGE:
        msg = "the exported file is not what was imported"
        raise SystemExit(msg)


MEASURES: dict[str, Callable[[Bench], Iterator[Cost]]] = {
    "chain": chain,
    "parallel": parallel,
    "files": files,
    "large": large,
}


def _peak(process: int) -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def main() -> None:
    """Measure what is named, or all."""
    parser = argparse.ArgumentParser(description="Measure what large inputs cost.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASURES))
    for each in parser.parse_args().names or list(MEASURES):
        with tempfile.TemporaryDirectory(prefix="layerline-benchmark-") as name:
            place = Path(name)
            own = {"LAYERLINE_STORE": str(place / "store"), "PYTHONPATH": str(ROOT / "src")}
            bench = Bench(place=place, environ={**process_environ(), **own})
            for measured in MEASURES[each](bench):
                print(measured.line(), flush=True)


if __name__ == "__main__":
    main()
