"""Functions, their flags and the values of these, as candidates on a command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerline.cli.chain.arguments import flag_for
from layerline.cli.chain.modules import CallTarget, load_known
from layerline.cli.chain.parser import callable_members, constructor_of, short
from layerline.cli.flags import Flag, FlagSet
from layerline.cli.options import module_flags, output_flags
from layerline.engine.module.types import Types, reference

if TYPE_CHECKING:
    from layerline.cli.console import Console
    from layerline.engine.module.definitions import TypeDef
    from layerline.engine.module.types import Member

CALLING = frozenset({"call", "core", "functions"})
_NO_FILES = 4  # a directive, as in candidates.py


def function_words(
    console: Console, command: str, argv: list[str], prefix: str
) -> tuple[list[tuple[str, str]], int]:
    """The words that can follow functions, and a directive."""
    own = output_flags(FlagSet()) if command == "core" else module_flags()
    target = CallTarget(types=Types())
    if command != "core" and not console.options.no_module:
        known = load_known(console)
        if known is None:
            return (_flags(own, console.flags) if prefix.startswith("-") else []), 0
        target = known
    return _Walk(target, own, console.flags).words(argv, prefix)


class _Walk:
    """The functions of a command line, one after the other."""

    def __init__(self, target: CallTarget, own: FlagSet, inherited: FlagSet) -> None:
        self.target = target
        self.own = own
        self.inherited = inherited
        self.type_def: TypeDef = reference("Query")
        self.flags = FlagSet((own, inherited))
        if target.loaded is not None:
            self._enter(constructor_of(target.types))

    def words(self, argv: list[str], prefix: str) -> tuple[list[tuple[str, str]], int]:
        """The candidates after some arguments."""
        rest = list(argv)
        while rest:
            arg = rest.pop(0)
            if arg.startswith("-") and arg != "-":
                flag = self._flag(arg)
                if flag is None or flag.bare is not None or "=" in arg:
                    continue
                if not rest:
                    return _values(flag)
                del rest[0]
            elif not self._step(arg):
                return [], 0
        if prefix.startswith("-"):
            return _flags(self.flags, self.own, self.inherited), _NO_FILES
        members, _ = callable_members(self.target.types, self.type_def)
        words = [(m.command, short(m.function.description).strip("-")) for m in members]
        return [*words, *((name, "") for name in self.target.toolchains)], _NO_FILES

    def _step(self, name: str) -> bool:
        """Go on to a function, or to a toolchain; whether there is one of the name."""
        toolchain = self.target.toolchain(name)
        if toolchain is not None:
            self.target = toolchain
            self._enter(constructor_of(toolchain.types))
            return True
        for member in callable_members(self.target.types, self.type_def)[0]:
            if member.command == name:
                self._enter(member)
                return True
        return False

    def _enter(self, member: Member) -> None:
        self.type_def = member.function.return_type
        self.flags = FlagSet((self.own, self.inherited))
        for arg in member.function.args:
            flag = flag_for(arg, self.target.types)
            if flag is not None:
                self.flags.add(flag)

    def _flag(self, arg: str) -> Flag | None:
        if arg.startswith("--"):
            return self.flags.find(arg[2:].partition("=")[0])
        return self.flags.by_letter(arg[1])


def _flags(*sets: FlagSet) -> list[tuple[str, str]]:
    found = [flag for flags in sets for flag in flags.visible() if not flag.refusal]
    return [(f"--{flag.name}", short(flag.usage.strip()).strip("-")) for flag in found]


def _values(flag: Flag) -> tuple[list[tuple[str, str]], int]:
    """The values that a flag can have: the members of an enum, else files."""
    members = flag.kind.split(",")
    if len(members) > 1:
        return [(member, "") for member in members], _NO_FILES
    return [], 0
