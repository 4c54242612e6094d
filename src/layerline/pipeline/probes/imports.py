"""Each package can be imported by every name that it brings.

imports.py PACKAGE ...
"""

import importlib
import importlib.metadata
import pathlib
import sys

NO_LIBRARIES = {"tests", "test", "docs", "examples", "benchmarks", "scripts", "bin"}


def modules(package: str) -> list[str]:
    """The packages and modules at the top of a distribution, without private ones."""
    found = set()
    for file in importlib.metadata.files(package) or ():
        path = pathlib.PurePosixPath(str(file))
        if len(path.parts) == 2 and path.name == "__init__.py":
            found.add(path.parts[0])
        elif len(path.parts) == 1 and path.suffix == ".py":
            found.add(path.stem)
    return sorted(
        name
        for name in found
        if name.isidentifier() and not name.startswith("_") and name not in NO_LIBRARIES
    )


imported = []
for package in sys.argv[1:]:
    for name in modules(package):
        importlib.import_module(name)
        imported.append(name)
print(" ".join(imported))
