"""Runs probes one after the other and writes the evidence to stdout as JSON.

    run.py < {"subject": NAME, "packages": [NAME, ...], "probes": [[NAME, [ARGUMENT, ...]], ...]}

A probe is a program in the same directory. The first that fails ends the run with its output.
"""

import importlib.metadata
import json
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent


def run_probe(name: str, arguments: list[str], subject: str) -> dict[str, object]:
    """One entry of the evidence; its seconds are the only thing that differs between runs."""
    begin = time.monotonic()
    # From the standard input: a program's own directory would be searched for its imports first.
    argv = [sys.executable, "-", *arguments]
    text = (HERE / f"{name}.py").read_text()
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
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
    evidence = {
        "subject": request["subject"],
        "probes": [run_probe(name, argv, request["subject"]) for name, argv in request["probes"]],
        "packages": [measure(name) for name in request["packages"]],
    }
    json.dump(evidence, sys.stdout, indent=1)
