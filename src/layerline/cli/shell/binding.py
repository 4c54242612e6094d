"""The arguments of a function in a script: required ones by place, others and any by flags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layerline.cli.chain.arguments import flag_for, is_required
from layerline.cli.flags import Flag, FlagSet, parse_bool, parse_list
from layerline.cli.shell.prefixed_errors import prefixed
from layerline.cli.shell.states import has_token
from layerline.engine.module.naming import kebab, lower_camel
from layerline.errors import LayerlineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layerline.cli.chain.modules import CallTarget
    from layerline.cli.shell.evaluator import Evaluator
    from layerline.engine.module.definitions import FunctionArg, TypeDef
    from layerline.engine.module.types import Member

_PLAIN_TYPES = {
    "STRING_KIND": "string",
    "INTEGER_KIND": "int",
    "FLOAT_KIND": "float",
    "BOOLEAN_KIND": "bool",
    "VOID_KIND": "void",
}
_LOCAL = frozenset({"Directory", "File"})


def shown_type(type_def: TypeDef) -> str:
    """A type as usage lines have it: `string`, `[]Container`."""
    if type_def.as_list is not None:
        return f"[]{shown_type(type_def.as_list.element_type_def)}"
    return _PLAIN_TYPES.get(type_def.kind, type_def.name)


def flag_name(arg: FunctionArg) -> str:
    """The flag of an argument, without its dashes."""
    return kebab(lower_camel(arg.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Binder:
    """Reads arguments. `path` is what a local path stands for: they are those of the context."""

    evaluator: Evaluator
    path: Callable[[str], str]

    async def bind(self, target: CallTarget, member: Member, argv: Sequence[str]) -> dict[str, Any]:
        """The values of the arguments; a message about their number shows the usage."""
        texts, values = await self._collect(target, member, argv)
        flags = FlagSet()
        known: dict[str, FunctionArg] = {}
        for arg in member.function.args:
            flag = flag_for(arg, target.types) or _text_flag(arg)
            known[flags.add(flag).name] = arg
        for name, text in texts:
            await self._set(target, member, known[name], flags.flags[name], text, values)
        for name, flag in flags.flags.items():
            arg = known[name]
            if flag.changed and arg.name not in values:
                values[arg.name] = await self.evaluator.evaluation(target).resolve(arg, flag.value)
        return values

    async def _set(
        self,
        target: CallTarget,
        member: Member,
        arg: FunctionArg,
        flag: Flag,
        text: str,
        values: dict[str, Any],
    ) -> None:
        """Take one text for an argument: an object by its state, anything else by its flag."""
        try:
            found = await self._object(text)
            plain = self._located(arg, text) if found is None else ""
            plain = await self.evaluator.resolve(plain)
        except LayerlineError as exc:
            where = f'cannot expand function argument "{flag.name}"'
            raise prefixed(where, exc) from exc
        if found is None:
            flag.set(plain)
            return
        if arg.type_def.as_list is not None:
            given = [*values.get(arg.name, ()), *(found if isinstance(found, list) else [found])]
        else:
            given = found
        if member.owner:
            converted = await self.evaluator.own_arguments(
                target, member.function, {arg.name: found}
            )
            given = converted[arg.name] if arg.type_def.as_list is None else given
        values[arg.name] = given

    async def _object(self, text: str) -> Any:  # noqa: ANN401 - ids as the API has them
        state = self.evaluator.store.load(text)
        return None if state is None else await self.evaluator.objects(state)

    def _located(self, arg: FunctionArg, text: str) -> str:
        """A path of the context as one of this machine; other texts as they are."""
        if arg.type_def.name not in _LOCAL or has_token(text):
            return text
        return self.path(text)

    async def _collect(
        self, target: CallTarget, member: Member, argv: Sequence[str]
    ) -> tuple[list[tuple[str, str]], dict[str, Any]]:
        """The texts that flags are set to, in order, and the values that need no flag."""
        required = [arg for arg in member.function.args if is_required(arg)]
        flags = FlagSet()
        for arg in member.function.args:
            flags.add(_raw_flag(arg))
        try:
            operands = _operands(flags, argv)
            given = [arg for arg in required if flags.flags[flag_name(arg)].changed]
            self._add_defaults(target, member, flags)
            missing = [arg for arg in required if not flags.flags[flag_name(arg)].changed]
            if len(required) == 1 and len(operands) > 1 and not given and _is_texts(required[0]):
                resolved = [await self.evaluator.resolve(text) for text in operands]
                return _texts(flags), {required[0].name: resolved}
            _check_count(missing, operands)
        except UsageError as exc:
            message = f"{exc}\nusage: {usage_line(target, member)}"
            raise UsageError(message) from exc
        placed = [(flag_name(arg), text) for arg, text in zip(missing, operands, strict=True)]
        return [*placed, *_texts(flags)], {}

    def _add_defaults(self, target: CallTarget, member: Member, flags: FlagSet) -> None:
        """Use the user's defaults for flags that were not given."""
        for arg in member.function.args if member.owner else ():
            flag = flags.flags[flag_name(arg)]
            text = target.defaults.text(member, arg)
            if text is not None and not flag.changed:
                flag.set(text)
        for note in target.sources.new_notes(target.defaults.used):
            self.evaluator.console.info(note)


def _check_count(missing: Sequence[FunctionArg], operands: Sequence[str]) -> None:
    if len(operands) != len(missing):
        message = f"requires {len(missing)} positional argument(s), received {len(operands)}"
        raise UsageError(message)


def usage_line(target: CallTarget, member: Member, *, name: str = "") -> str:
    """`hello <source> [--text string]`; `name` is another one than the function's."""
    parts = [name or member.command or kebab(target.types.name)]
    arguments = member.function.args
    parts += [f"<{flag_name(arg)}>" for arg in arguments if is_required(arg)]
    for arg in arguments:
        if not is_required(arg):
            kind = shown_type(arg.type_def)
            parts.append(f"[--{flag_name(arg)}{'' if kind == 'bool' else f' {kind}'}]")
    return " ".join(parts)


def _operands(flags: FlagSet, argv: Sequence[str]) -> list[str]:
    """Take the flags, which may stand anywhere before `--`; what is left are the operands."""
    operands: list[str] = []
    rest = list(argv)
    while rest:
        arg = rest.pop(0)
        if arg == "--":
            # One operand before `--` is lost there, as it is in Dagger v0.21.8 (shell_exec.go).
            return rest if len(operands) == 1 else [*operands, *rest]
        if arg in ("-h", "--help"):
            kind = "shorthand flag" if arg == "-h" else "flag"
            message = f'unknown {kind}: "{arg}"'
            raise UsageError(message)
        if arg.startswith("-") and arg != "-":
            flags.take(arg, rest)
        else:
            operands.append(arg)
    return operands


def _raw_flag(arg: FunctionArg) -> Flag:
    """A flag that keeps its text, or texts, until the states in it have values."""
    element = arg.type_def.as_list
    if element is not None:
        kind = "stringSlice"
        if element.element_type_def.kind == "BOOLEAN_KIND":
            kind = "boolSlice"
        return Flag(name=flag_name(arg), kind=kind, parse=parse_list(str), repeated=True)
    if arg.type_def.kind == "BOOLEAN_KIND":
        return Flag(name=flag_name(arg), kind="bool", parse=parse_bool, bare="true")
    return Flag(name=flag_name(arg), kind="string", parse=str)


def _text_flag(arg: FunctionArg) -> Flag:
    """The flag of an argument whose type has no text: an object of another module, an id."""
    return Flag(name=flag_name(arg), kind="string", parse=str)


def _texts(flags: FlagSet) -> list[tuple[str, str]]:
    """What flags were set to, one text for each value."""
    found: list[tuple[str, str]] = []
    for name, flag in sorted(flags.flags.items()):
        if not flag.changed:
            continue
        values = flag.value if isinstance(flag.value, list) else [flag.value]
        found += [(name, str(v).lower() if isinstance(v, bool) else str(v)) for v in values]
    return found


def _is_texts(arg: FunctionArg) -> bool:
    return shown_type(arg.type_def) == "[]string"
