"""The SDK that `develop` writes can be imported, with the types of the dependencies."""

from __future__ import annotations

import sys
import tomllib
from typing import TYPE_CHECKING, Any

from layerline import command
from layerline.engine.module.sdk_copy import with_dependencies, write_sdk

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """\
__all__ = ["Query"]


@typecheck
class Query(Root):
    def core(self) -> "str":
        return "core"


class Client(Query):
    pass
"""
# As client_code writes it.
CODE = """\
class BaseCase(Enum):
    UPPER = 'upper'
    pass

class Base(Type):
    pass

_core_query = Query
@typecheck
class Query:
    def base(self, *, case: 'BaseCase' = BaseCase.UPPER) -> 'Base':
        return Base()
    pass

_methods = vars(Query)
Query = _core_query
"""


def test_functions_of_dependencies_are_methods_of_the_query() -> None:
    text = with_dependencies(SOURCE, CODE)
    space: dict[str, Any] = dict.fromkeys(("Root", "Enum", "Type"), object)
    space["typecheck"] = lambda made: made
    exec(text, space)
    client = space["Client"]()
    assert client.core() == "core"
    assert type(client.base()).__name__ == "Base"
    assert space["__all__"] == ["Query", "BaseCase", "Base"]


def test_without_dependencies_nothing_is_added() -> None:
    assert with_dependencies(SOURCE, "") == SOURCE


def test_what_is_written_can_be_imported_and_read_without_a_build(tmp_path: Path) -> None:
    write_sdk(tmp_path, "")
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    assert (project["name"], project["version"]) == ("dagger-io", "0.0.0")
    assert any(need.startswith("cattrs") for need in project["dependencies"])
    code = "import dagger; print(dagger.__file__, hasattr(dagger.dag, 'host'))"
    done = command.run([sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path / "src")})
    assert done.stdout.decode().split() == [str(tmp_path / "src/dagger/__init__.py"), "False"]
