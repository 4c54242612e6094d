"""Prints the installed Python distributions and Debian packages as JSON."""

import importlib.metadata
import json
import pathlib
import shutil
import subprocess
import sysconfig
from importlib.metadata import Distribution

OSI = "License :: OSI Approved :: "
LONGEST_NAME = 100
DPKG = ("dpkg-query", "--show", "--showformat=${Package}\t${Version}\t${Architecture}\n")


def licence(distribution: Distribution) -> dict[str, str]:
    """An expression where there is one, else the name that the authors give; some paste a text."""
    if expression := first(distribution, "License-Expression"):
        return {"expression": expression}
    classifiers = distribution.metadata.get_all("Classifier") or ()
    names = [each.removeprefix(OSI) for each in classifiers if each.startswith(OSI)]
    name = names[0] if names else first(distribution, "License")
    return {"name": name} if name and "\n" not in name and len(name) <= LONGEST_NAME else {}


def first(distribution: Distribution, key: str) -> str:
    """A field of the metadata; empty where there is none."""
    return str([*(distribution.metadata.get_all(key) or ()), ""][0])


def bytecode() -> dict[str, int]:
    """The numbers of files and bytes that the packages' bytecode has."""
    sizes = [
        path.stat().st_size for path in pathlib.Path(sysconfig.get_path("purelib")).rglob("*.pyc")
    ]
    return {"files": len(sizes), "bytes": sum(sizes)}


def debian() -> list[list[str]]:
    """Name, version and architecture of each package; nothing on another system."""
    if shutil.which(DPKG[0]) is None:
        return []
    done = subprocess.run(DPKG, capture_output=True, text=True, check=True)
    return [line.split("\t") for line in done.stdout.splitlines()]


if __name__ == "__main__":
    found = {
        "python": [
            {
                "name": each.metadata["Name"],
                "version": each.version,
                "summary": first(each, "Summary"),
                "license": licence(each),
            }
            for each in importlib.metadata.distributions()
        ],
        "bytecode": bytecode(),
        "debian": debian(),
    }
    print(json.dumps(found))
