"""Which packages have a licence that a project denies.

An expression (PEP 639) is denied if no choice in it is free of denied licences: `GPL-3.0-only OR
MIT` is not, `GPL-3.0-only AND MIT` is. Packages without one are known by the name that their
authors give. Patterns are compared without regard to case.
"""

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from license_expression import AND, OR, ExpressionError, LicenseSymbol, Licensing

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """The licence of a Python package, as an expression or in the authors' words."""

    package: str
    version: str
    licence: str
    is_expression: bool


def read(listed: Sequence[Mapping[str, Mapping[str, str]]]) -> Iterator[Licence]:
    """Yield the licences of packages as `metadata.py` lists them."""
    for each in listed:
        named = each["license"]
        yield Licence(
            package=str(each["name"]),
            version=str(each["version"]),
            licence=named.get("expression") or named.get("name") or UNKNOWN,
            is_expression="expression" in named,
        )


def is_denied(licence: Licence, patterns: Sequence[str]) -> bool:
    """Whether one must accept a denied licence to use the package."""
    if not licence.is_expression:
        return _matches(licence.licence, patterns)
    try:
        parsed = Licensing().parse(licence.licence)
    except ExpressionError:
        return _matches(licence.licence, patterns)
    return _is_denied(parsed, patterns)


def _is_denied(node: object, patterns: Sequence[str]) -> bool:
    if isinstance(node, OR):
        return all(_is_denied(each, patterns) for each in node.args)
    if isinstance(node, AND):
        return any(_is_denied(each, patterns) for each in node.args)
    return isinstance(node, LicenseSymbol) and _matches(str(node.render()), patterns)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name.lower(), each.lower()) for each in patterns)
