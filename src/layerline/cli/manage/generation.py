"""The files that are generated for a module: its SDK, what a new one begins with, and its lock.

Invariant: everything that can fail is done in a directory of its own before the module is touched;
dagger.json is written last.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from layerline import command, host
from layerline.cli.manage.template import git_files, project_files
from layerline.engine import Store, write_errors
from layerline.engine.module.git_modules import GitModules
from layerline.engine.module.indexes import installer_environ
from layerline.engine.module.loading import load_module
from layerline.engine.module.sdk_copy import write_sdk
from layerline.engine.module.source import check_inside
from layerline.errors import CommandFailed, LayerlineError

if TYPE_CHECKING:
    from layerline.cli.console import Console
    from layerline.cli.manage.module_file import ModuleFile
    from layerline.engine.api.session import Session
    from layerline.engine.module.loading import LoadedModule
    from layerline.engine.module.source import ModuleConfig

_LOCK = "uv.lock"
_LONGEST_SECONDS = 600.0


def generate(console: Console, file: ModuleFile, config: ModuleConfig) -> None:
    """Write a module's dagger.json, and the files of its SDK if it has one.

    `config` is the module as the file describes it.
    """
    if not config.has_code:
        file.write()
        return
    code = _client_code(console, config) if config.dependencies else ""
    place = config.code
    with tempfile.TemporaryDirectory(prefix="layerline-") as scratch:
        staged = Path(scratch)
        (staged / "sdk").mkdir()
        write_sdk(staged / "sdk", code)
        files = project_files(place, config.name)
        for name, text in files.items():
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            (staged / name).write_text(text)
        if "pyproject.toml" in files and not (place / _LOCK).exists():
            _lock(console, staged)
        automatic = file.document.get("codegen", {}).get("automaticGitignore", True)
        for name, text in git_files(place).items() if automatic else ():
            (staged / name).write_text(text)
        # A clone may be a stranger's, with links to files of the user.
        for path in staged.rglob("*"):
            name = path.relative_to(staged).as_posix()
            check_inside(place / name, config.context, name)
        with write_errors(f"failed to create {place}", place):
            place.mkdir(parents=True, exist_ok=True)
        shutil.copytree(staged, place, dirs_exist_ok=True)
    file.write()


def _lock(console: Console, project: Path) -> None:
    """Lock the requirements of a new project; nothing is built for it."""
    environ = {**installer_environ(console.settings), "UV_NO_CONFIG": "1"}
    uv = Path(sys.executable).with_name("uv")
    argv: list[str | Path] = [
        uv,
        "lock",
        "--quiet",
        "--no-build",
        "--project",
        project,
        "--python",
        sys.executable,
    ]
    try:
        command.run(argv, env=environ, cwd=project, timeout=_LONGEST_SECONDS)
    except CommandFailed as exc:
        message = (
            f"the requirements of the new module cannot be locked: {exc.stderr.strip()}\nCheck the "
            "index settings (PIP_INDEX_URL, UV_INDEX_URL, pip.conf)"
        )
        raise LayerlineError(message) from exc


def _client_code(console: Console, config: ModuleConfig) -> str:
    """The client of the dependencies, each of which says what it defines."""
    host.become_root()  # of the store, whose files belong to many users
    with Store.open(console.settings.store) as store:
        fetch = GitModules(store=store, settings=console.settings).fetch
        loaded = load_module(config, store, fetch)
    console.enter()
    from layerline.cli.chain.engine_session import run_in_session

    async def work(session: Session) -> str:
        return await _client_code_in(session, loaded)

    return run_in_session(console, work)


async def _client_code_in(session: Session, loaded: LoadedModule) -> str:
    from layerline.engine.module.calls import Caller, DefinitionFailed
    from layerline.engine.module.client_code import client_code
    from layerline.engine.module.client_schema import client_schema

    caller = Caller.of(session, loaded)
    for each in loaded.dependencies:
        try:
            await Caller.of(session, each.module).define()
        except DefinitionFailed as exc:
            own, alias = f'module "{each.module.name}"', f'module "{each.name}"'
            message = (
                "failed to run codegen: failed to load dependencies as modules: failed to load "
                f"module dependencies: {str(exc).replace(own, alias, 1)}"
            )
            raise LayerlineError(message) from exc
    return client_code(client_schema(await caller.dependencies()))
