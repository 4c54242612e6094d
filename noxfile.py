"""The developers' tasks, one command each: `.venv/bin/nox -l` lists them, `-s NAME` runs one.

They use the environment that `./layerline test` has made; without names, all checks run.
"""

import os
import re
import subprocess  # noqa: TID251  as in nox itself
import sys
import tempfile
from keyword import iskeyword
from pathlib import Path

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "imports", "dead", "tests"]

PYTHON = sys.executable
FUNCTIONS = ("ci", "src/layerline/pipeline")
LATER_PYTHONS = ("3.12", "3.13", "3.14")
SOURCES = os.pathsep.join(["src", "."])
SCHEMA = Path("src/layerline/resources/schema.graphql")
FAULTS = (
    "tests/faults",
    "tests/concurrency",
    "tests/isolation",
    *(f"tests/integration/test_{name}.py" for name in ("bit_rot", "full_disk")),
    "tests/unit/cli/test_foreign_stores.py",
    *(f"tests/unit/api/test_{name}.py" for name in ("query_cost", "reach", "request_limits")),
    *(f"tests/unit/image/test_{name}.py" for name in ("bombs", "unpack", "validate")),
    *(f"tests/unit/runtime/test_{name}.py" for name in ("service", "step_limits", "user_ids")),
    *(f"tests/unit/store/test_{name}.py" for name in ("locks", "manifest", "overlay", "rmtree")),
)
# These take minutes of one processor, and look at nothing of the machine that others change.
APART = tuple(
    f"tests/unit/{name}"
    for name in (
        *("ci", "cli", "dockerfile", "doctor", "image", "pipeline"),
        *("resources", "solve", "sources", "store", "trees"),
    )
)
COMPILE = (
    *(str(Path(PYTHON).with_name("uv")), "pip", "compile", "--quiet", "--universal"),
    *("--python-version=3.11", "--generate-hashes", "--no-header"),
    *("--no-emit-index-url", "--no-emit-find-links"),
)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style."""
    session.run(PYTHON, "-m", "ruff", "check", ".", external=True)
    session.run(PYTHON, "-m", "ruff", "format", "--check", ".", external=True)


@nox.session
def types(session: nox.Session) -> None:
    """Check the types; those of the functions for every Python that a module may run on."""
    session.run(PYTHON, "-m", "mypy", external=True)
    for version in LATER_PYTHONS:
        session.run(PYTHON, "-m", "mypy", f"--python-version={version}", *FUNCTIONS, external=True)


@nox.session
def imports(session: nox.Session) -> None:
    """Check who imports whom."""
    program = str(Path(PYTHON).with_name("lint-imports"))
    session.run(program, env={"PYTHONPATH": SOURCES}, external=True)


@nox.session
def dead(session: nox.Session) -> None:
    """Look for code that nobody calls; queries call what has the name of a field of the schema."""
    words = re.findall(r"\b(\w+)(?=[(:])", SCHEMA.read_text())
    fields = {re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word).lower() for word in words}
    called = Path(session.create_tmp(), "called.py")
    called.write_text("".join(f"_.{name}\n" for name in sorted(fields) if not iskeyword(name)))
    read = ("src", "ci", "noxfile.py", "tasks.py", str(called))
    session.run(PYTHON, "-m", "vulture", *read, external=True)


@nox.session
def tests(session: nox.Session) -> None:
    """Run pytest with the arguments after `--`; `--slow` adds what takes minutes.

    Without arguments it runs twice at the same time, to use two processors: the other one has
    `APART`, and its report comes last.
    """
    if session.posargs:
        session.run(PYTHON, "-m", "pytest", *session.posargs, external=True)
        return
    apart = [PYTHON, "-m", "pytest", "-p", "no:cacheprovider", *APART]
    ignored = (f"--ignore={place}" for place in APART)
    with (
        tempfile.TemporaryFile() as report,
        subprocess.Popen(apart, stdout=report, stderr=subprocess.STDOUT) as other,
    ):
        try:
            session.run(PYTHON, "-m", "pytest", *ignored, external=True)
        finally:
            status = other.wait()
            report.seek(0)
            print(report.read().decode(errors="replace"), flush=True)
        if status != 0:
            session.error(f"the tests of {', '.join(APART)} failed: see above")


@nox.session
def faults(session: nox.Session) -> None:
    """Run the attacks and the injected faults of docs/architecture/faults.md, the long ones too."""
    session.run(PYTHON, "-m", "pytest", "--slow", *FAULTS, *session.posargs, external=True)


@nox.session
def coverage(session: nox.Session) -> None:
    """Measure the branches that the unit tests run; fails below the floor in pyproject.toml."""
    session.run(PYTHON, "-m", "coverage", "run", "-m", "pytest", "-q", "tests/unit", external=True)
    session.run(PYTHON, "-m", "coverage", "report", "--skip-covered", external=True)


@nox.session
def requirements(session: nox.Session) -> None:
    """Lock the tool's own requirements anew; `-- --upgrade` takes the newest versions."""
    tool, dev, installer = (f"requirements/{name}.txt" for name in ("tool", "dev", "uv"))
    more = session.posargs
    session.run(*COMPILE, *more, "pyproject.toml", "-o", tool, external=True)
    session.run(
        *COMPILE, *more, "pyproject.toml", "--extra=dev", "-c", tool, "-o", dev, external=True
    )
    session.run(*COMPILE, *more, "requirements/uv.in", "-c", tool, "-o", installer, external=True)
    docs = "requirements/docs.txt"
    session.run(*COMPILE, *more, "requirements/docs.in", "-o", docs, external=True)


@nox.session(venv_backend="venv")
def docs(session: nox.Session) -> None:
    """Build the documentation as a site, in `.nox/site/`."""
    session.install("--require-hashes", "-r", "requirements/docs.txt")
    session.run("mkdocs", "build", "--strict")
