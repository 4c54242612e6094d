"""Runs probes one after the other and writes the evidence to stdout as JSON.

    run.py < {"subject": NAME, "packages": [NAME, ...], "probes": [[NAME, [ARGUMENT, ...]], ...]}

A probe is a program in the same directory. The first that fails ends the run with its output.
$BYTECODE is a directory for bytecode that later runs reuse.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import time

HERE = pathlib.Path(__file__).parent
UNUSED_SECONDS = 14 * 86400
# Half of the time of an import goes into compiling: what one probe has compiled the next one reads.
PREFIX = pathlib.Path.cwd() / "bytecode"
BYTECODE = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(PREFIX)}


def share_bytecode(kept: pathlib.Path) -> None:
    """Let the bytecode of packages outlive this container, in a directory that many use at once.

    All files have one timestamp, which cannot distinguish two versions of a package: the hashes in
    its RECORD can. Directories that several packages share are not kept.
    """
    site = pathlib.Path(sysconfig.get_path("purelib"))
    owners: dict[str, list[str]] = {}
    for record in site.glob("*.dist-info/RECORD"):
        content = record.read_text()
        name = hashlib.sha256(content.encode()).hexdigest()
        for top in {line.partition("/")[0] for line in content.splitlines() if "/" in line}:
            owners.setdefault(top, []).append(name)
    linked = PREFIX / site.relative_to("/")
    linked.mkdir(parents=True, exist_ok=True)
    for top, names in owners.items():
        link = linked / top
        if top.isidentifier() and len(names) == 1 and (site / top).is_dir() and not link.exists():
            directory = kept / f"{top}-{names[0]}"
            directory.mkdir(exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # gone just now: compiled once more
                os.utime(directory)
            link.symlink_to(directory)
    for directory in kept.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another run was quicker
            if directory.stat().st_mtime < time.time() - UNUSED_SECONDS:
                shutil.rmtree(directory, ignore_errors=True)


def run_probe(name: str, arguments: list[str], subject: str) -> dict[str, object]:
    """One entry of the evidence; its seconds are the only thing that differs between runs."""
    begin = time.monotonic()
    # From the standard input: a program's own directory would be searched for its imports first.
    argv = [sys.executable, "-", *arguments]
    text = (HERE / f"{name}.py").read_text()
    environ = {**os.environ, **BYTECODE}
    done = subprocess.run(
        argv, input=text, env=environ, capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - begin
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        sys.exit(f"probe {name!r} of {subject} failed with exit code {done.returncode}")
    output = done.stdout.strip()
    return {"probe": name, "result": "passed", "seconds": round(seconds, 3), "output": output}


def measure(name: str) -> dict[str, object]:
    """A package's version, and the bytes of its files."""
    distribution = importlib.metadata.distribution(name)
    size = sum(file.size or 0 for file in distribution.files or ())
    return {"name": name, "version": distribution.version, "bytes": size}


if __name__ == "__main__":
    request = json.load(sys.stdin)
    if "BYTECODE" in os.environ:
        share_bytecode(pathlib.Path(os.environ["BYTECODE"]))
    evidence = {
        "subject": request["subject"],
        "probes": [run_probe(name, argv, request["subject"]) for name, argv in request["probes"]],
        "packages": [measure(name) for name in request["packages"]],
    }
    json.dump(evidence, sys.stdout, indent=1)
