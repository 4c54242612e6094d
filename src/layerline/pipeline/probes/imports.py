"""Each package can be imported by every name that it brings, in a process of its own.

    imports.py PACKAGE ...

The names are those of the files in its RECORD (PEP 376, PEP 627), or else of its top_level.txt. An
import that fails for want of a module which only an extra of the package requires passes where
that extra is not installed, as long as another of its names is imported.
"""

import importlib
import importlib.metadata
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator

NO_LIBRARIES = {"tests", "test", "docs", "examples", "benchmarks", "scripts", "bin"}
# Distributions whose modules have another name.
OTHER_NAMES = {
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "crypto": "pycryptodome",
    "cv2": "opencv-python opencv-python-headless opencv-contrib-python-headless",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "git": "gitpython",
    "google": "protobuf",
    "magic": "python-magic",
    "mpl-toolkits": "matplotlib",
    "multipart": "python-multipart",
    "pil": "pillow",
    "pkg-resources": "setuptools",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}


def modules(package: str) -> list[str]:
    """The packages and modules at the top of a distribution, without private ones.

    Below a directory that is a namespace (PEP 420), it is the packages in there.
    """
    distribution = importlib.metadata.distribution(package)
    files = [pathlib.PurePosixPath(str(file)) for file in distribution.files or ()]
    packages = {file.parent for file in files if file.name == "__init__.py"}
    tops = {place for place in packages if packages.isdisjoint(place.parents)}
    found = {place.parts for place in tops}
    found |= {(file.stem,) for file in files if len(file.parts) == 1 and file.suffix == ".py"}
    if not files:
        listed = distribution.read_text("top_level.txt") or ""
        found = {tuple(line.split("/")) for line in listed.split()}
    return sorted(".".join(parts) for parts in found if parts and all(map(is_public, parts)))


def is_public(name: str) -> bool:
    return name.isidentifier() and not name.startswith("_") and name not in NO_LIBRARIES


def normalize(name: str) -> str:
    """The form in which names of distributions are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def extras(package: str) -> dict[str, str]:
    """What only extras of a package require and is not installed: the names, and their extras."""
    always: set[str] = set()
    optional: dict[str, str] = {}
    for line in importlib.metadata.requires(package) or ():
        requirement, _, marker = line.partition(";")
        matched = re.match(r"[\w.-]+", requirement)
        name = normalize(matched[0]) if matched else ""
        if extra := re.search(r"\bextra\s*==\s*['\"]([^'\"]+)", marker):
            optional.setdefault(name, extra[1])
        else:
            always.add(name)
    return {
        name: extra
        for name, extra in optional.items()
        if name not in always and not is_installed(name)
    }


def is_installed(name: str) -> bool:
    return any(importlib.metadata.distributions(name=name))


def providers(module: str) -> Iterator[str]:
    """The distributions that may have a module, by the names that are usual."""
    top = normalize(module.partition(".")[0])
    yield from OTHER_NAMES.get(top, "").split()
    yield from (top, f"python-{top}", f"py{top}")
    parts = module.split(".")
    yield from (normalize("-".join(parts[:count])) for count in range(2, len(parts) + 1))


def unwanted(package: str, error: BaseException) -> str:
    """What an import lacks if only an extra of the package requires it; otherwise nothing."""
    optional = extras(package)
    each: BaseException | None = error
    while each is not None:
        if isinstance(each, ModuleNotFoundError) and each.name:
            for name in providers(each.name):
                if name in optional:
                    return f"{name} of its extra {optional[name]} is not installed"
        # `raise ... from None` hides the context from tracebacks, and keeps it.
        each = each.__cause__ or each.__context__
    return ""


def import_modules(package: str, names: list[str], place: pathlib.Path) -> None:
    """Import the modules of a package; what they print goes into files at the place."""
    for number in (1, 2):
        with (place / f"{package}.{number}").open("wb") as sink:
            os.dup2(sink.fileno(), number)
    imported, spared = [], []
    for name in names:
        try:
            importlib.import_module(name)
            imported.append(name)
        except BaseException as error:  # noqa: BLE001 (a module may end in any way)
            reason = unwanted(package, error)
            if not reason:
                traceback.print_exc()
                sys.exit(f"{package} cannot be imported as {name}: {error!r}")
            spared.append(f"{name} of {package} is left out: {reason}")
    if spared and not imported:
        sys.exit("\n".join([*spared, f"nothing of {package} can be imported"]))
    print(*spared, *imported, sep="\n")


def main(packages: list[str], place: pathlib.Path) -> None:
    """Import the packages, as many at a time as there are processors."""
    context = multiprocessing.get_context("fork")
    children = {
        package: context.Process(target=import_modules, args=(package, modules(package), place))
        for package in packages
    }
    running: list[int] = []
    for child in children.values():
        if len(running) >= (os.cpu_count() or 1):
            running.remove(multiprocessing.connection.wait(running)[0])  # type: ignore[arg-type]
        child.start()
        running.append(child.sentinel)
    for package, child in children.items():
        child.join()
        if child.exitcode:
            sys.stdout.write((place / f"{package}.1").read_text(errors="replace"))
            sys.stderr.write((place / f"{package}.2").read_text(errors="replace"))
            sys.exit(f"importing {package} failed with exit code {child.exitcode}")
    found = [(place / f"{package}.1").read_text(errors="replace") for package in packages]
    sys.stdout.write("".join(found))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as kept:
        main(sys.argv[1:], pathlib.Path(kept))
