"""What `import layerline` offers, without its dependencies and on Python 3.9."""

from __future__ import annotations

import ast
import inspect
import json
import shutil
import sys
from pathlib import Path

import anyio.to_thread
import pytest

import layerline
from layerline import command, errors
from layerline.settings import process_environ

PACKAGE = Path(layerline.__file__).parent
OFFERED = """
import json, sys
before = set(sys.modules)
import layerline
print(json.dumps([layerline.__version__, sorted(set(sys.modules) - before), dir(layerline)]))
"""


def test_every_error_and_connect_are_public() -> None:
    classes = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.LayerlineError)
    }
    assert set(layerline.__all__) == {"Connection", "__version__", "connect", *classes}
    for name in layerline.__all__:
        assert getattr(layerline, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'disconnect'"):
        layerline.disconnect  # noqa: B018


def test_what_type_checkers_see_is_what_is_offered() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("layerline.")
        for alias in node.names
    }
    assert imported == set(layerline.__all__) - {"__version__"}
    assert (PACKAGE / "py.typed").is_file()


def test_importing_it_needs_neither_dependencies_nor_metadata(tmp_path: Path) -> None:
    # A module's container has this file and pipeline/ alone (docs: decision of issue 13).
    shutil.copytree(PACKAGE / "pipeline", tmp_path / "layerline" / "pipeline")
    shutil.copy(PACKAGE / "__init__.py", tmp_path / "layerline")
    start = f"import sys; sys.path.insert(0, {str(tmp_path)!r})"
    done = command.run([sys.executable, "-I", "-S", "-c", start + OFFERED])
    version, brought, offered = json.loads(done.stdout)
    assert version == layerline.__version__
    assert [name for name in brought if name.partition(".")[0] not in sys.stdlib_module_names] == [
        "layerline"
    ]
    assert offered == sorted(layerline.__all__)


def test_it_reads_on_python_3_9() -> None:
    # The doctor starts on that version; `feature_version` refuses later syntax (ast, Python docs).
    leaves = [
        "__init__.py",
        "dockerfile_lexer.py",
        "patterns.py",
        "prompt.py",
        "user_directories.py",
        *(str(p) for p in PACKAGE.rglob("doctor/**/*.py")),
    ]
    for name in leaves:
        ast.parse((PACKAGE / name).read_text(), feature_version=(3, 9))


PROGRAM = """
import asyncio, dagger
from dagger import dag

async def main():
    async with dagger.connection():
        print(await dag.directory().with_new_file("a", "text").file("a").contents())

asyncio.run(main())
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAYERLINE_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("DAGGER_SESSION_PORT", raising=False)
    return tmp_path


def run_program(home: Path, environ: dict[str, str]) -> command.Finished:
    environ = {"HOME": str(home), **environ}
    return command.run([sys.executable, "-c", PROGRAM], env=environ, expect=None)


def test_an_sdk_in_another_program_uses_the_session_until_the_block_ends(home: Path) -> None:
    with layerline.connect(workdir=home) as session:
        assert session.environ.items() <= process_environ().items()
        assert run_program(home, session.environ).stdout == b"text\n"
    assert "DAGGER_SESSION_PORT" not in process_environ()
    assert run_program(home, session.environ).status != 0


async def test_it_is_an_async_context_manager_too(home: Path) -> None:
    async with layerline.connect(workdir=home) as session:
        done = await anyio.to_thread.run_sync(run_program, home, session.environ)
    assert done.stdout == b"text\n"
