"""Runs probes one after the other; what they say is the evidence, written as JSON to stdout.

    run.py < {"subject": NAME, "packages": [NAME, ...], "probes": [[NAME, [ARGUMENT, ...]], ...]}

A probe is a program beside this one. The first that fails ends the run with its output.
"""

import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
# Half of the time of an import goes into compiling: what one probe has compiled the next one reads.
# It goes with the container; a file's time and size do not tell two versions apart here.
BYTECODE = {
    "PYTHONDONTWRITEBYTECODE": "",
    "PYTHONPYCACHEPREFIX": str(pathlib.Path.cwd() / "bytecode"),
}


def probed(name: str, arguments: list[str], subject: str) -> dict[str, object]:
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


def measured(name: str) -> dict[str, object]:
    """A package's version, and the bytes of its files."""
    distribution = importlib.metadata.distribution(name)
    size = sum(file.size or 0 for file in distribution.files or ())
    return {"name": name, "version": distribution.version, "bytes": size}


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    evidence = {
        "subject": asked["subject"],
        "probes": [probed(name, words, asked["subject"]) for name, words in asked["probes"]],
        "packages": [measured(name) for name in asked["packages"]],
    }
    json.dump(evidence, sys.stdout, indent=1)
