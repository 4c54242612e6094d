"""A pipeline evaluated: each function on the value before it, of a list on every element.

Values are JSON as functions return it: scalars, ids of core objects, states of the module's own
objects.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from layerline.cli.chain.arguments import is_addressed
from layerline.engine.module import results
from layerline.engine.module.arguments import NeedsEngine, Reader, complete
from layerline.engine.module.core import GIVES_ID
from layerline.engine.module.git_addresses import is_git
from layerline.engine.module.naming import kebab
from layerline.engine.module.types import OBJECTS, Member, Types, element_of
from layerline.errors import HostError, LayerlineError, StoreError, UsageError
from layerline.user_directories import expand_home

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from layerline.cli.chain.parser import SelectedFunction
    from layerline.engine.module.definitions import Function, FunctionArg, Json, TypeDef
    from layerline.engine.module.loading import LoadedModule

_LOCAL = frozenset({"Directory", "File"})


class Backend(Protocol):
    """Where a chain is evaluated: in the store alone, or in a session."""

    async def resolve_address(self, typename: str, text: str) -> Json:
        """The id of the object at an address that is not a file of the host."""

    async def load_path(self, typename: str, path: Path, ignore: tuple[str, ...]) -> str:
        """The id of a file or directory of the host."""

    async def complete_arguments(
        self, function: Function, given: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The arguments of a module's function, defaults included."""

    async def call_module(
        self, owner: str, function: Function, parent: Json, arguments: dict[str, Any]
    ) -> Json:
        """The result of a function of the module."""

    async def call_core(
        self, receiver: str | None, typename: str, function: Function, arguments: dict[str, Any]
    ) -> Json:
        """The result of a function of the core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainResult:
    """The value that a pipeline ends in, its type, and where it was saved if it was.

    `fields` are what was asked of the elements of a list on the way: the names in the API, and
    whether they are lists themselves.
    """

    value: Json
    type_def: TypeDef
    saved: str | None = None
    fields: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The evaluation of one pipeline; paths in flags are relative to `workdir` and `home`."""

    backend: Backend
    types: Types
    workdir: Path
    home: Path

    async def evaluate(self, selected: Sequence[SelectedFunction], output: str) -> ChainResult:
        """Call the functions in order; an object at the end is evaluated, or saved to `output`."""
        value: Json = None
        typename = "Query"
        for one in selected:
            arguments = await self._arguments(one)
            value = await self.apply(one.member, value, typename, arguments)
            typename = element_of(one.member.function.return_type).name
        ended = await self.finish(value, selected[-1].member.function.return_type, output)
        return replace(ended, fields=_fields_of_elements(selected))

    async def _arguments(self, one: SelectedFunction) -> dict[str, Any]:
        try:
            given = {
                name: await self.resolve(one.args[name], value)
                for name, value in one.given_values.items()
            }
        except (HostError, StoreError):
            raise
        except LayerlineError as exc:
            raise UsageError(str(exc), usage=one.path) from exc
        if one.member.owner and not one.member.is_field:
            return await self.backend.complete_arguments(one.member.function, given)
        return given

    async def resolve(self, arg: FunctionArg, value: Json) -> Json:
        """The value of an argument: the ids of the objects at addresses, other values as given."""
        if not is_addressed(arg.type_def):
            return value
        texts = value if isinstance(value, list) else [value]
        try:
            found = [await self._address(arg, text) for text in texts]
        except (HostError, StoreError):  # not the value is wrong, the machine is
            raise
        except LayerlineError as exc:
            message = f'failed to get value for argument "{arg.name}": {exc}'
            raise UsageError(message) from exc
        return found if isinstance(value, list) else found[0]

    async def _address(self, arg: FunctionArg, text: str) -> Json:
        typename = element_of(arg.type_def).name
        if typename not in _LOCAL or is_git(text):
            return await self.backend.resolve_address(typename, text)
        return await self.backend.load_path(typename, self._host_path(arg, text), arg.ignore)

    def _host_path(self, arg: FunctionArg, text: str) -> Path:
        path = Path(self.workdir, expand_home(text.removeprefix("file://"), self.home))
        if not path.exists():
            kind = element_of(arg.type_def).name.lower()
            # The end of Dagger's message, without what its library for gRPC says before it.
            message = (
                f"lstat {path}: no such file or directory; "
                f"--{kebab(arg.name)} takes a {kind} of this machine"
            )
            raise UsageError(message)
        return path

    async def apply(
        self, member: Member, value: Json, typename: str, arguments: dict[str, Any]
    ) -> Json:
        """What a member of a value gives, of a list that of each element."""
        if isinstance(value, list):
            return [await self.apply(member, item, typename, arguments) for item in value]
        if value is None and member.owner and member.function.name:
            return None  # an optional object that a function did not return
        if member.is_field:
            return value[member.function.name]
        if member.owner:
            return await self.backend.call_module(member.owner, member.function, value, arguments)
        if member.function.role == "" and value is None and typename != "Query":
            return None
        return await self.backend.call_core(value, typename, member.function, arguments)

    async def finish(self, value: Json, type_def: TypeDef, output: str) -> ChainResult:
        """The end of a pipeline: an object is evaluated, or saved to `output`."""
        element = element_of(type_def)
        plain = ChainResult(value=value, type_def=type_def)
        if element.kind not in OBJECTS or self.types.own_object(element.name) or value is None:
            return plain
        functions = {m.api_name: m.function for m in self.types.members(type_def)}
        export = functions.get("export")
        if output and export is not None and not isinstance(value, list):
            names = {arg.name for arg in export.args}
            arguments: dict[str, Any] = {"path": output}
            if "allowParentDirPath" in names:
                arguments["allowParentDirPath"] = True
            saved = await self.backend.call_core(value, element.name, export, arguments)
            return ChainResult(value=value, type_def=type_def, saved=str(saved))
        sync = functions.get("sync")
        if sync is None or sync.role != GIVES_ID:
            return plain
        member = Member(function=sync, api_name="sync", owner="")
        return ChainResult(
            value=await self.apply(member, value, element.name, {}), type_def=type_def
        )


def _fields_of_elements(selected: Sequence[SelectedFunction]) -> tuple[tuple[str, bool], ...]:
    """What is behind the first function that returns a list."""
    listed = [one.member.function.return_type.as_list is not None for one in selected]
    if True not in listed:
        return ()
    begin = listed.index(True) + 1
    names = (one.member.api_name for one in selected[begin:])
    return tuple(zip(names, listed[begin:], strict=True))


@dataclass(slots=True, kw_only=True, eq=False)
class CachedBackend:
    """The backend without a session: cached results, and files of the host."""

    module: LoadedModule
    reader: Reader

    async def resolve_address(self, typename: str, text: str) -> Json:
        """Raise NeedsEngine: addresses are resolved in a session."""
        message = f"{typename} {text}"
        raise NeedsEngine(message)

    async def load_path(self, typename: str, path: Path, ignore: tuple[str, ...]) -> str:
        """Read it into the store, which costs little where nothing changed."""
        if typename == "Directory":
            return self.reader.directory(path, ignore=ignore)
        return self.reader.file(path)

    async def complete_arguments(
        self, function: Function, given: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Fill in the defaults."""
        return complete(function, given, self.module.config, self.reader)

    async def call_module(
        self, owner: str, function: Function, parent: Json, arguments: dict[str, Any]
    ) -> Json:
        """The cached result; NeedsEngine without one."""
        seconds = results.lifetime(function, caching=self.module.config.caching)
        key = results.key_of(self.module.digest, owner, function.name, parent, arguments)
        known = results.recall(self.reader.store.index, key) if seconds else None
        if known is None:
            raise NeedsEngine
        return known.value

    async def call_core(
        self, receiver: str | None, typename: str, *function_and_arguments: Json
    ) -> Json:
        """Raise NeedsEngine: core functions are evaluated in a session."""
        message = f"{typename} {receiver} {function_and_arguments}"
        raise NeedsEngine(message)


def run_sync(work: Coroutine[Any, Any, ChainResult]) -> ChainResult | None:
    """Run a coroutine that never waits, without an event loop; None where it needs the engine."""
    try:
        work.send(None)
    except StopIteration as done:
        result: ChainResult = done.value
        return result
    except NeedsEngine:
        return None
    message = "an evaluation in the store alone must not wait"
    raise AssertionError(message)
