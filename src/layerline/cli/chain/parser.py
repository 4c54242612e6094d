"""The arguments of `call` read as a pipeline: constructor flags, then functions with theirs.

Invariant: a pipeline that was parsed can be called: every function exists, every value is of its
type and nothing that is required is missing.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from layerline.cli.chain.arguments import flag_for, is_required, with_mark
from layerline.cli.chain.defaults import UserDefaults
from layerline.cli.display.help import Page
from layerline.cli.flags import Flag, FlagSet
from layerline.engine.module.definitions import Function, TypeDef
from layerline.engine.module.types import Member, Types
from layerline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.engine.module.definitions import FunctionArg

_PLUMBING = frozenset({"id"})


@dataclass(slots=True, kw_only=True)
class SelectedFunction:
    """A function of the chain with its flags. `path` is the command line up to it."""

    member: Member
    path: str
    flags: dict[str, Flag] = field(default_factory=dict)
    args: dict[str, FunctionArg] = field(default_factory=dict)

    @property
    def given_values(self) -> dict[str, Any]:
        """The values of the flags that were given, by the arguments' names."""
        return {name: flag.value for name, flag in self.flags.items() if flag.changed}

    def value(self, name: str) -> Any:  # noqa: ANN401 - as the argument's type has it
        """The value of an argument, given or by default; None where there is none."""
        arg = self.args.get(name)
        return self.given_values.get(name, arg.default if arg is not None else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """Where a pipeline begins: the command, its own flags, and the first function.

    `member` is the main object's constructor; None begins at the API's root, whose functions are
    those of `type_def`.
    """

    path: str
    about: str
    use: str
    type_def: TypeDef
    own: FlagSet
    inherited: FlagSet
    member: Member | None = None
    experimental: bool = False


def callable_members(types: Types, type_def: TypeDef) -> tuple[list[Member], list[str]]:
    """The members of a type that a command line can call, and the names of the others."""
    usable: list[Member] = []
    skipped: list[str] = []
    for member in types.members(type_def):
        if member.api_name in _PLUMBING and not member.owner:
            continue
        needs = (arg for arg in member.function.args if is_required(arg))
        if all(flag_for(arg, types) is not None for arg in needs):
            usable.append(member)
        else:
            skipped.append(member.command)
    return usable, skipped


def short(text: str) -> str:
    """The first line of a description; a dash where there is none."""
    return text.split("\n", 1)[0] or "-"


@dataclass(slots=True)
class Parser:
    """Parses one command line; with `wants_help` required flags may be missing."""

    types: Types
    root: Root
    defaults: UserDefaults = field(default_factory=UserDefaults)
    wants_help: bool = False
    page: Page = field(init=False)
    selected: list[SelectedFunction] = field(default_factory=list)

    def parse(self, argv: Sequence[str]) -> list[SelectedFunction]:
        """Parse the functions in order; sets `page` to the help of the last."""
        root = self.root
        flags = FlagSet((root.inherited,), dict(root.own.flags))
        rest = self._level(
            SelectedFunction(member=root.member, path=root.path) if root.member else None,
            flags,
            argv,
        )
        self.page = Page(
            about=root.about,
            path=root.path,
            use=root.use,
            experimental=root.experimental,
            commands=self._commands(root.type_def),
            local=flags,
            inherited=root.inherited,
        )
        path, type_def = root.path, root.type_def
        while rest:
            member = self._find(type_def, rest[0], path)
            path = f"{path} {member.command}"
            type_def = member.function.return_type
            flags = FlagSet((root.own, root.inherited))
            rest = self._level(SelectedFunction(member=member, path=path), flags, rest[1:])
            self._describe(member, path, flags)
        return self.selected

    def _level(
        self, selected: SelectedFunction | None, flags: FlagSet, argv: Sequence[str]
    ) -> list[str]:
        """Parse the flags of one function and return the arguments after them."""
        path = selected.path if selected else self.root.path
        for arg in selected.member.function.args if selected else ():
            flag = flag_for(arg, self.types)
            if flag is not None and selected:
                selected.flags[arg.name] = flags.add(flag)
                selected.args[arg.name] = arg
        try:
            rest = flags.parse(argv)
            if selected:
                self._fill(selected)
            if not self.wants_help:
                flags.require()
        except UsageError as exc:
            raise UsageError(str(exc), usage=path) from exc
        if selected:
            self.selected.append(selected)
        return rest

    def _fill(self, selected: SelectedFunction) -> None:
        """Use the user's defaults for flags that were not given."""
        for name, flag in selected.flags.items():
            if flag.changed or not selected.member.owner:
                continue
            text = self.defaults.text(selected.member, selected.args[name])
            if text is not None:
                flag.set(text)
                flag.required = False
                flag.default = f"[{text}]" if flag.repeated else text

    def _find(self, type_def: TypeDef, word: str, path: str) -> Member:
        members = callable_members(self.types, type_def)[0]
        for member in members:
            if member.command == word:
                return member
        near = difflib.get_close_matches(word, [member.command for member in members], n=1)
        message = f'unknown command "{word}" for "{path}"'
        message += f'; did you mean "{near[0]}"?' if near else ""
        raise UsageError(message, usage=path)

    def _describe(self, member: Member, path: str, flags: FlagSet) -> None:
        commands = self._commands(member.function.return_type)
        operands = (
            "[arguments]" if flags.flags else "",
            "<function>" if any(commands.values()) else "",
        )
        self.page = Page(
            about=with_mark(member.function.description or "-", member.function.deprecated),
            path=path,
            use=" ".join(filter(None, operands)),
            commands=commands,
            local=flags,
        )

    def _commands(self, type_def: TypeDef) -> dict[str, list[tuple[str, str]]]:
        usable, _ = callable_members(self.types, type_def)
        rows = [
            (m.command, with_mark(short(m.function.description), m.function.deprecated))
            for m in usable
        ]
        return {"Functions": rows}


def constructor_of(types: Types) -> Member:
    """The main object's constructor; one without arguments where the module defines none."""
    main = types.main_object()
    made = TypeDef(kind="OBJECT_KIND", name=main.name)
    function = main.constructor or Function(name="", return_type=made)
    return Member(function=function, api_name="", owner=main.name)
