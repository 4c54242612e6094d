"""Prints the versions of packages with a URL, and what their builds require, as JSON by name.

    url_metadata.py PIP

The request comes as JSON on stdin: the URLs by name. Those of directories are `file://`. The file
/mnt/arguments has arguments for pip, one in each line.
"""

import importlib
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from typing import Any

ARGUMENTS = pathlib.Path("/mnt/arguments")
# What builds a source without `build-system` (PEP 517).
SETUPTOOLS = "setuptools>=40.8.0"


def run(argv: list[str]) -> str:
    """What pip prints; ends with what it says if it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def pyproject(archive: pathlib.Path) -> str:
    """The text of the pyproject.toml in an archive of one directory; empty without any."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            names = [name for name in zipped.namelist() if is_pyproject(name)]
            return zipped.read(names[0]).decode() if names else ""
    with tarfile.open(archive) as tar:
        for member in tar:
            file = tar.extractfile(member) if is_pyproject(member.name) else None
            if file is not None:
                return file.read().decode()
    return ""


def is_pyproject(name: str) -> bool:
    """Whether a path in an archive is that of its project."""
    return name.removeprefix("./").count("/") == 1 and name.endswith("/pyproject.toml")


def requirements(text: str) -> list[str]:
    """What a build requires (PEP 518); Python 3.10 reads TOML with what pip has."""
    name = "tomllib" if importlib.util.find_spec("tomllib") else "pip._vendor.tomli"
    table: dict[str, Any] = importlib.import_module(name).loads(text).get("build-system", {})
    return list(table.get("requires") or [SETUPTOOLS])


def describe(pip: str, name: str, url: str, place: pathlib.Path) -> dict[str, Any]:
    """The version and the build requirements of one package."""
    if url.partition("#")[0].endswith(".whl"):
        return {"version": url.rpartition("/")[2].split("-")[1], "requires": []}
    given = ARGUMENTS.read_text().split() if ARGUMENTS.exists() else []
    flags = ["--quiet", "--no-deps", *given]
    if url.startswith("file:///"):
        path = pathlib.Path(url.removeprefix("file://"), "pyproject.toml")
        text = path.read_text() if path.exists() else ""
    else:
        run([pip, "download", *flags, f"--dest={place}", f"{name} @ {url}"])
        [archive] = place.iterdir()
        text = pyproject(archive)
    argv = [pip, "install", "--dry-run", "--ignore-installed", "--report=-", *flags]
    [found] = json.loads(run([*argv, f"{name} @ {url}"]))["install"]
    requires = requirements(text)
    print(f"{name} is built with {', '.join(requires)}", file=sys.stderr)
    return {"version": found["metadata"]["version"], "requires": requires}


if __name__ == "__main__":
    if bundle := os.environ.get("CA_BUNDLE"):
        os.environ.update(SSL_CERT_FILE=bundle, PIP_CERT=bundle)
    found = {}
    for name, url in json.load(sys.stdin).items():
        with tempfile.TemporaryDirectory() as place:
            found[name] = describe(sys.argv[1], name, url, pathlib.Path(place))
    print(json.dumps(found))
