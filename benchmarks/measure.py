"""How fast the embedded engine is, beside what the Dagger engine took on the same kind of machine.

    .venv/bin/python -m benchmarks.measure [NAME …]

Each figure is the median of several runs, with the best beside it: what else the machine does can
only make a run slower. README.md tells what each one measures and where the yardsticks come from.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from layerline import command
from layerline.settings import process_environ

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).parents[1]
BASE = "debian:bookworm-slim"
MIB = 1 << 20


def processor_seconds() -> float:
    """Processor time of the commands that have ended, with their children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A place to measure in: a store that lasts for this run only."""

    place: Path
    environ: Mapping[str, str]

    @property
    def words(self) -> list[str]:
        """The command line of this checkout."""
        return [sys.executable, "-m", "layerline"]

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """A session of this store."""
        process = command.start(
            [*self.words, "session"],
            env=self.environ,
            cwd=self.place,
            stdin=command.PIPE,
            stdout=command.PIPE,
            stderr=command.DEVNULL,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        url = f"http://127.0.0.1:{told['port']}/query"
        auth = (str(told["session_token"]), "")
        try:
            with httpx.Client(auth=auth, timeout=None, trust_env=False) as client:
                yield Session(client=client, url=url, process=process.pid)
        finally:
            process.stdin.close()
            process.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session that is asked over HTTP, as an SDK does."""

    client: httpx.Client
    url: str
    process: int

    def ask(self, query: str) -> float:
        """The seconds until the answer."""
        began = time.perf_counter()
        self.get(query)
        return time.perf_counter() - began

    def get(self, query: str) -> Any:  # noqa: ANN401
        """The data of the answer; an error in it ends the measurement."""
        answer = self.client.post(self.url, json={"query": query}).json()
        if answer.get("errors"):
            raise SystemExit(answer["errors"][0]["message"])
        return answer["data"]

    def chain(self, *, unique: str, execs: int) -> str:
        """A query of a chain of execs that no other run has made."""
        steps = [
            f'from(address: "{BASE}")',
            f'withEnvVariable(name: "UNIQUE", value: "{unique}")',
            *(f'withExec(args: ["true", "{number}"])' for number in range(execs)),
        ]
        return "{ container { " + " { ".join(steps) + " { stdout" + " }" * (len(steps) + 2)

    def memory(self) -> float:
        """The memory (MiB) of the engine's processes together."""
        return sum(_resident(process) for process in family(self.process)) / MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Something measured: the runs, and what the Dagger engine took; lower is better."""

    what: str
    unit: str
    runs: list[float]
    limit: float
    real: float

    def line(self) -> str:
        """A row of the table."""
        median = statistics.median(self.runs)
        cells = (
            f"{self.what:<46}",
            *(f"{value:>9.4g}" for value in (median, min(self.runs), self.real)),
            f"{median / self.real:>8.2f}",
            f"{self.limit:>8.4g} {self.unit:<4}",
            "" if median <= self.limit else "MISSED",
        )
        return " ".join(cells)


def call(bench: Bench) -> Iterator[Figure]:
    """A function whose result is remembered, by the command line, from start to exit."""
    module = bench.place / "module"
    shutil.copytree(ROOT / "tests" / "cli" / "sample", module)
    runs = []
    for _ in range(12):
        began = time.perf_counter()
        words = [*bench.words, "call", "-s", "text"]
        command.run(words, env=bench.environ, cwd=module)
        runs.append(time.perf_counter() - began)
    yield Figure(what="layerline call, cached scalar", unit="s", runs=runs[2:], limit=0.7, real=3.4)


def execs(bench: Bench) -> Iterator[Figure]:
    """Containers that run `true`: one that was not run before, cached ones, and a long chain."""
    with bench.session() as session:
        unique = uuid.uuid4().hex
        session.ask(session.chain(unique=unique, execs=1))
        runs = [session.ask(session.chain(unique=f"{unique}{n}", execs=1)) for n in range(30)]
        yield Figure(what="exec of true, not cached", unit="ms", runs=_ms(runs), limit=80, real=95)
        short = session.chain(unique=unique, execs=1)
        again = [session.ask(short) for _ in range(101)][1:]
        yield Figure(what="chain asked again", unit="ms", runs=_ms(again), limit=3, real=2.6)
        chains = []
        for number in range(3):
            long = session.chain(unique=f"{unique}-{number}", execs=100)
            chains.append(session.ask(long))
        yield Figure(what="100 execs in one chain", unit="s", runs=chains, limit=8, real=9.5)


def files(bench: Bench) -> Iterator[Figure]:
    """A host directory of 10,000 files: into an empty store, and again in another session."""
    source = bench.place / "files"
    for number in range(100):
        (source / f"d{number}").mkdir(parents=True)
        for part in range(100):
            (source / f"d{number}" / f"f{part}.txt").write_text(f"{number} {part}\n" * 20)
    query = f'{{ host {{ directory(path: "{source}") {{ entries }} }} }}'
    first: list[float] = []
    again: list[float] = []
    for number in range(3):
        store = {"LAYERLINE_STORE": str(bench.place / f"store-{number}")}
        fresh = Bench(place=bench.place, environ={**bench.environ, **store})
        for runs in (first, again):
            with fresh.session() as session:
                session.ask("{ version }")
                runs.append(session.ask(query))
    yield Figure(what="10,000 host files, first", unit="s", runs=first, limit=1.5, real=1.67)
    yield Figure(what="10,000 host files, again", unit="s", runs=again, limit=0.3, real=0.40)


def memory(bench: Bench) -> Iterator[Figure]:
    """The engine's memory after 2,000 execs in one session."""
    with bench.session() as session:
        unique = uuid.uuid4().hex
        for number in range(200):
            chains = (session.chain(unique=f"{unique}{number}-{n}", execs=1) for n in range(10))
            fields = (f"a{n}: {chain[1:-1].strip()}" for n, chain in enumerate(chains))
            session.ask("{ " + " ".join(fields) + " }")
        yield Figure(
            what="memory after 2,000 execs",
            unit="MiB",
            runs=[session.memory()],
            limit=200,
            real=590,
        )


MEASURES: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "call": call,
    "execs": execs,
    "files": files,
    "memory": memory,
}


def _ms(seconds: list[float]) -> list[float]:
    return [value * 1000 for value in seconds]


def family(process: int) -> Iterator[int]:
    """A process and all that descend from it, by number."""
    yield process
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from family(int(child))


def _resident(process: int) -> int:
    """What a process has in memory; a page that several share is shared out among them."""
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def main() -> None:
    """Measure what is named, or all."""
    parser = argparse.ArgumentParser(description="Measure the embedded engine.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASURES))
    chosen = parser.parse_args().names or list(MEASURES)
    head = ("median", "best", "Dagger", "ratio", "limit")
    print(" " * 46, *(f"{word:>9}" for word in head[:3]), *(f"{word:>8}" for word in head[3:]))
    with tempfile.TemporaryDirectory(prefix="layerline-benchmark-") as name:
        place = Path(name)
        own = {"LAYERLINE_STORE": str(place / "store"), "PYTHONPATH": str(ROOT / "src")}
        bench = Bench(place=place, environ={**process_environ(), **own})
        for each in chosen:
            for figure in MEASURES[each](bench):
                print(figure.line(), flush=True)


if __name__ == "__main__":
    main()
