"""The SDK as a module's developer has it in `sdk/`: with the module's dependencies in its client.

Editors and type checkers read it, and the project's `[tool.uv.sources]` names it; the engine
installs its own.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import shutil
from pathlib import Path

from layerline.engine.module.bindings import without_host

_CLIENT = "client/gen.py"
# The version is that of Dagger's own copies; uv need not build it to read what is static.
_PROJECT = """\
[project]
name = "dagger-io"
version = "0.0.0"
description = "The Dagger SDK of this module; 'develop' writes it"
requires-python = "{python}"
dependencies = [
{requirements}]

[build-system]
requires = ["uv_build>=0.8.4,<0.9.0"]
build-backend = "uv_build"

[tool.uv.build-backend]
module-name = "dagger"
"""
_README = """\
# The Dagger SDK of this module

Written by `develop`, with the types of the module's dependencies. Do not edit or commit it.
"""


def write_sdk(place: Path, code: str) -> None:
    """Write the SDK into a new directory; `code` is what `client_code` gives."""
    spec = importlib.util.find_spec("dagger")
    assert spec is not None
    assert spec.origin is not None
    package = place / "src" / "dagger"
    shutil.copytree(Path(spec.origin).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    client = package / _CLIENT
    client.write_text(with_dependencies(without_host(client.read_text()), code))
    metadata = importlib.metadata.metadata("dagger-io")
    needs = importlib.metadata.requires("dagger-io") or []
    listed = "".join(f"  {need!r},\n" for need in needs if "extra ==" not in need)
    (place / "pyproject.toml").write_text(
        _PROJECT.format(python=metadata["Requires-Python"], requirements=listed)
    )
    (place / "README.md").write_text(_README)


def with_dependencies(source: str, code: str) -> str:
    """The text of `dagger/client/gen.py` with more types, and their functions among Query's.

    The code would add them when it is executed, which editors do not see.
    """
    if not code:
        return source
    types, _, rest = code.partition("_core_query = Query\n")
    (query,) = (node for node in ast.parse(rest).body if isinstance(node, ast.ClassDef))
    methods = rest.splitlines(keepends=True)[query.body[0].lineno - 1 : query.end_lineno]
    names = [n.name for n in ast.parse(types).body if isinstance(n, ast.ClassDef)]
    (core,) = (
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == "Query"
    )
    lines = source.splitlines(keepends=True)
    begin = min([core.lineno, *(each.lineno for each in core.decorator_list)]) - 1
    assert core.end_lineno is not None
    shown = [name for name in names if not name.startswith("_")]
    # The types come first: defaults of Query's methods are members of their enums.
    pieces = [*lines[:begin], types, "\n\n", *lines[begin : core.end_lineno], "\n", *methods]
    return "".join([*pieces, *lines[core.end_lineno :], f"\n\n__all__ += {shown!r}\n"])
