"""Names as Dagger spells them: `with_file` in Python, `withFile` on the wire, `with-file`."""

from __future__ import annotations

import functools
import keyword
import re

_SEPARATORS = "_ -."
_ACRONYM = re.compile(r"[A-Z\d]+(?=[A-Z\d]|$)")
# As methods they would hide the types that annotations of the same class name.
_RESERVED = frozenset({"bool", "float", "int", "list", "str", "type"})


@functools.cache
def kebab(name: str) -> str:
    """`withNewFile` -> `with-new-file`; `sha256` -> `sha-256`; `allGPUs` -> `all-gp-us`."""
    out: list[str] = []
    text = name.strip()
    for place, char in enumerate(text):
        following = text[place + 1 : place + 2]
        before = text[place - 1 : place] if place else ""
        if char in _SEPARATORS:
            out.append("-")
            continue
        if _upper(char) and _lower(following) and _upper(before):
            out.append("-")
        out.append(char.lower())
        if _turns(char, following):
            out.append("-")
    return "".join(out)


@functools.cache
def lower_camel(name: str) -> str:
    """`with_new_file` -> `withNewFile`."""
    return _camel(name, capital=False)


@functools.cache
def pascal(name: str) -> str:
    """`my-mod` -> `MyMod`."""
    return _camel(name, capital=True)


def type_name(module: str, name: str, original: str | None = None) -> str:
    """The name of a module's type in the API: the module's name in front, once.

    `original` is the module's own name where its caller has another one for it. After the rules of
    https://github.com/dagger/dagger/blob/v0.21.8/core/gqlformat.go (namespaceObject).
    """
    own, prefix = pascal(name), pascal(original or module)
    rest = own.removeprefix(prefix)
    if rest != own and (not rest or _upper(rest[0])):
        return pascal(module) + rest
    return pascal(f"{module}_{own}")


def python_name(name: str) -> str:
    """`loadFileFromID` -> `load_file_from_id`: a method or an argument in the Python SDK."""
    spelled = _ACRONYM.sub(lambda match: match[0].title(), name)
    plain = re.sub(r"([a-z]|[A-Z]+)(?=[A-Z])", r"\1_", spelled).lower()
    return f"{plain}_" if plain in _RESERVED or keyword.iskeyword(plain) else plain


def package_name(project: str) -> str:
    """The import name that belongs to a project name: normalised, with underscores."""
    return re.sub(r"[-_.]+", "-", project).lower().replace("-", "_")


def _camel(name: str, *, capital: bool) -> str:
    out: list[str] = []
    raise_next, after_upper = capital, False
    for place, original in enumerate(name.strip()):
        char = original
        if raise_next:
            char = char.upper()
        elif _upper(char) and (place == 0 or after_upper):
            char = char.lower()
        after_upper = _upper(original)
        if char.isascii() and char.isalpha():
            out.append(char)
            raise_next = False
        elif _digit(char):
            out.append(char)
            raise_next = True
        else:
            raise_next = char in _SEPARATORS
    return "".join(out)


def _turns(char: str, following: str) -> bool:
    """Whether a word ends between two characters."""
    if _lower(char):
        return _upper(following) or _digit(following)
    if _digit(char):
        return _upper(following) or _lower(following)
    return _upper(char) and _digit(following)


def _upper(char: str) -> bool:
    return "A" <= char <= "Z"


def _lower(char: str) -> bool:
    return "a" <= char <= "z"


def _digit(char: str) -> bool:
    return "0" <= char <= "9"
