"""The arguments of a call in a session, which can also resolve addresses and repositories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerline.engine.module.addresses import read_repository, resolve
from layerline.engine.module.arguments import GIT, Reader, complete
from layerline.engine.module.git_addresses import is_git
from layerline.errors import QueryError

_ANYWHERE = frozenset({"Container", "Platform"})
_FILES = frozenset({"Directory", "File", "GitRef", "GitRepository"})

if TYPE_CHECKING:
    from collections.abc import Mapping

    from layerline.engine.api.session import Session
    from layerline.engine.module.definitions import Function, FunctionArg, Json
    from layerline.engine.module.source import ModuleConfig


async def complete_in_session(
    session: Session, config: ModuleConfig, function: Function, given: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments as `complete` has them; the session resolves addresses and repositories."""
    known = dict(given)
    reader = Reader(store=session.store)
    for arg in function.args:
        if arg.name in known:
            continue
        if arg.default_path and arg.type_def.name in GIT:
            known[arg.name] = await _repository(session, arg, config, reader)
        elif arg.default_address:
            known[arg.name] = await _default(session, arg)
    arguments = await session.solver.in_thread(complete, function, known, config, reader)
    reader.introduce(session)
    return arguments


async def _default(session: Session, arg: FunctionArg) -> Json:
    """The object at an address that the module chose: an image, or a repository elsewhere.

    Secrets, sockets, services and files of the caller are given by the caller alone.
    """
    remote = arg.type_def.name in _FILES and is_git(arg.default_address)
    if arg.type_def.name not in _ANYWHERE and not remote:
        message = (
            f"argument {arg.name!r} has the default {arg.default_address!r}, which a module may "
            f"not take from this machine: give it, --{arg.name.replace('_', '-')}=…"
        )
        raise QueryError(message)
    return await resolve(session, arg.type_def.name, arg.default_address, elsewhere=True)


async def _repository(
    session: Session, arg: FunctionArg, config: ModuleConfig, reader: Reader
) -> Json:
    """The repository that a contextual path lies in, or what is checked out there."""
    if is_git(arg.default_path):
        return await resolve(session, arg.type_def.name, arg.default_path, elsewhere=True)
    path = config.resolve(arg.default_path)
    root = path.parent if path.name == ".git" else path
    directory = await session.solver.in_thread(reader.directory, root)
    reader.introduce(session)
    return await read_repository(session, arg.type_def.name, directory)
