"""What `.help` and `.types` print.

After https://github.com/dagger/dagger/blob/v0.21.8/cmd/dagger/shell_help.go.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from layerline.cli.chain.arguments import is_required
from layerline.cli.chain.parser import constructor_of, short
from layerline.cli.display.help import WIDTH, columns
from layerline.cli.shell.binding import flag_name, shown_type
from layerline.engine.module.core import core_types
from layerline.engine.module.types import OBJECTS, element_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from layerline.cli.chain.modules import CallTarget
    from layerline.engine.module.definitions import FunctionArg, TypeDef
    from layerline.engine.module.types import Member, Types

_KINDS = {
    "OBJECT_KIND": "Object",
    "INTERFACE_KIND": "Interface",
    "ENUM_KIND": "Enum",
    "INPUT_KIND": "Input",
    "SCALAR_KIND": "Scalar",
}


def sections(groups: Iterable[tuple[str, str]]) -> str:
    """Texts under their titles; those without a title stand at the margin."""
    parts: list[str] = []
    for title, body in groups:
        if not body:
            continue
        text = body.rstrip("\n")
        if title:
            text = f"{title.upper()}\n" + _indented(text)
        parts.append(text)
    return "\n\n".join(parts) + "\n"


def rows(items: Iterable[tuple[str, str]]) -> str:
    """Names with what they are for, wrapped next to the names."""
    known = list(items)
    room = max((len(name) for name, _ in known), default=0) + 5
    lines: list[tuple[str, str]] = []
    for name, text in known:
        first, *more = textwrap.wrap(text, WIDTH - room) or [""]
        lines += [(f"  {name}", first), *(("", line) for line in more)]
    return "\n".join(line.rstrip() for line in columns(lines).splitlines())


def function_usage(member: Member, name: str) -> str:
    """`with-exec <args> [options]`."""
    arguments = member.function.args
    required = [f"<{flag_name(arg)}>" for arg in arguments if is_required(arg)]
    options = [] if len(required) == len(arguments) else ["[options]"]
    return " ".join((name, *required, *options))


def function_document(target: CallTarget, member: Member, name: str) -> str:
    """The documentation of a function; `name` is what it is called by."""
    usage = function_usage(member, name)
    plain = usage.removesuffix(" [options]")
    returned = member.function.return_type
    returns = f"{_summary(target.types, returned)}\n\n"
    returns += f'Use "{plain} | .help" for more details.'
    about = member.function.description
    return sections(
        [("", about), ("Usage", usage), *_arguments(target, member), ("Returns", returns)]
    )


def module_document(target: CallTarget, path: str) -> str:
    """The documentation of a module; `path` is how it is named here."""
    main = target.types.main_object()
    constructor = constructor_of(target.types)
    definition = target.types.definition
    about = (definition.description if definition else "") or main.description
    groups = [("Module", "\n\n".join(filter(None, (target.types.name, about))))]
    usage = function_usage(constructor, path)
    if constructor.function.args:
        description = constructor.function.description
        entry = "\n\n".join(filter(None, (f"Usage: {usage}", description)))
        groups += [("Entrypoint", entry), *_arguments(target, constructor)]
    members = target.types.members(constructor.function.return_type)
    groups.append(("Available Functions", _members(members)))
    plain = usage.removesuffix(" [options]")
    if members:
        hint = f'Use "{plain} | .help <function>" for more information on a function.'
        groups.append(("", hint))
    return sections(groups)


def type_document(types: Types, type_def: TypeDef) -> str:
    """The documentation of a type."""
    element = element_of(type_def)
    name = types.shown_name(type_def) if element.kind in OBJECTS else shown_type(type_def)
    groups = []
    if name != "Query":
        about = _description(types, element)
        kind = _KINDS.get(element.kind, "Scalar")
        kind = f"List of {kind}s" if type_def.as_list is not None else kind
        groups.append((kind, "\n\n".join(filter(None, (name, about)))))
    enum = types.enum(element) if element.kind == "ENUM_KIND" else None
    if enum is not None:
        values = rows((member.name, short(member.description)) for member in enum.members)
        groups.append(("Values", values))
    members = types.members(type_def)
    if members:
        groups.append(("Available Functions", _members(members)))
        groups.append(("", 'Use ".help <function>" for more information on a function.'))
    return sections(groups)


def types_document(types: Types) -> str:
    """The types that can be met, those of the core and those of the module."""
    core = [
        (name, short(_description(types, item)))
        for name, item in sorted(core_types().items())
        if item.kind in OBJECTS
    ]
    groups = [("Core Types", rows(core))]
    definition = types.definition
    shapes = (*definition.objects, *definition.interfaces) if definition is not None else ()
    own = [(types.shown_name(item), short(_description(types, item))) for item in shapes]
    if own:
        groups.append((f"{types.name} Types", rows(own)))
    groups.append(("", 'Use ".help <type>" for more information on a type.'))
    return sections(groups)


def find_type(types: Types, name: str) -> TypeDef | None:
    """A type by its name in the API."""
    definition = types.definition
    for item in (
        (*definition.objects, *definition.interfaces, *definition.enums) if definition else ()
    ):
        if types.shown_name(item) == name:
            return item
    return core_types().get(name)


def _arguments(target: CallTarget, member: Member) -> list[tuple[str, str]]:
    arguments = member.function.args
    required = [arg for arg in arguments if is_required(arg)]
    optional = [arg for arg in arguments if not is_required(arg)]
    return [
        (
            "Required Arguments",
            rows((f"{flag_name(a)} {shown_type(a.type_def)}", _long(target, a)) for a in required),
        ),
        (
            "Optional Arguments",
            rows(
                (f"--{flag_name(a)} {shown_type(a.type_def)}", _long(target, a)) for a in optional
            ),
        ),
    ]


def _long(target: CallTarget, arg: FunctionArg) -> str:
    """The description of an argument, with the values that it may have and its default."""
    parts = [arg.description] if arg.description else []
    enum = target.types.enum(arg.type_def) if arg.type_def.kind == "ENUM_KIND" else None
    if enum is not None:
        parts.append(f"(possible values: {', '.join(member.name for member in enum.members)})")
    if arg.default_value not in (None, "null", '""', "[]", "false", "0"):
        parts.append(f"(default: {arg.default_value})")
    return " ".join(parts)


def _members(members: Sequence[Member]) -> str:
    return rows((member.command, short(member.function.description)) for member in members)


def _summary(types: Types, type_def: TypeDef) -> str:
    name = shown_type(type_def)
    about = _description(types, element_of(type_def))
    return f"{name} - {short(about)}" if about else name


def _description(types: Types, element: TypeDef) -> str:
    if element.kind not in OBJECTS:
        return ""
    own = types.own_object(element.name) or types.own_interface(element.name)
    return own.description if own is not None else ""


def _indented(text: str) -> str:
    if text.startswith("  "):
        return text
    lines: list[str] = []
    for line in text.splitlines():
        lines += textwrap.wrap(line, WIDTH - 2) or [""]
    return "\n".join(f"  {line}".rstrip() for line in lines)
