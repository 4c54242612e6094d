"""Arithmetic of `$((…))`, as C computes it with integers of 64 bits.

See https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_06_04.
"""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, NoReturn

from layerline.cli.shell.scope import ExpansionError

if TYPE_CHECKING:
    from collections.abc import Callable

_TOKEN = re.compile(
    r"\s*(0[xX][0-9a-fA-F]+|\d+|[A-Za-z_]\w*|<<=|>>=|[-+*/%&|^]=|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%<>=!~&|^?:()])"
)
_BITS = 64
_ASSIGNMENTS = frozenset({"=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="})


def _quotient(left: int, right: int) -> int:
    if right == 0:
        message = "division by zero"
        raise ExpansionError(message)
    found = abs(left) // abs(right)
    return found if (left < 0) == (right < 0) else -found


_BINARY: dict[str, tuple[int, Callable[[int, int], int]]] = {
    "||": (1, lambda left, right: int(bool(left) or bool(right))),
    "&&": (2, lambda left, right: int(bool(left) and bool(right))),
    "|": (3, operator.or_),
    "^": (4, operator.xor),
    "&": (5, operator.and_),
    "==": (6, lambda left, right: int(left == right)),
    "!=": (6, lambda left, right: int(left != right)),
    "<": (7, lambda left, right: int(left < right)),
    ">": (7, lambda left, right: int(left > right)),
    "<=": (7, lambda left, right: int(left <= right)),
    ">=": (7, lambda left, right: int(left >= right)),
    "<<": (8, lambda left, right: left << (right % _BITS)),
    ">>": (8, lambda left, right: left >> (right % _BITS)),
    "+": (9, operator.add),
    "-": (9, operator.sub),
    "*": (10, operator.mul),
    "/": (10, _quotient),
    "%": (10, lambda left, right: left - right * _quotient(left, right)),
}


def evaluate(text: str, variables: dict[str, str]) -> int:
    """The value of an expression, whose assignments change `variables`."""
    tokens: list[str] = []
    place = 0
    plain = text.strip()
    while place < len(plain):
        match = _TOKEN.match(plain, place)
        if match is None:
            message = f"not a valid arithmetic expression: {plain}"
            raise ExpansionError(message)
        tokens.append(match[1])
        place = match.end()
    return _Evaluation(plain, tokens, variables).value() if tokens else 0


class _Evaluation:
    """A recursive descent over the tokens of one expression."""

    def __init__(self, text: str, tokens: list[str], variables: dict[str, str]) -> None:
        self._text = text
        self._tokens = tokens
        self._variables = variables

    def value(self) -> int:
        value = self._assignment()
        if self._tokens:
            self._fail()
        return value

    def _fail(self) -> NoReturn:
        message = f"not a valid arithmetic expression: {self._text}"
        raise ExpansionError(message)

    def _next(self) -> str:
        return self._tokens[0] if self._tokens else ""

    def _assignment(self) -> int:
        name = self._next()
        sign = self._tokens[1] if len(self._tokens) > 1 else ""
        if not name.isidentifier() or sign not in _ASSIGNMENTS:
            return self._choice()
        del self._tokens[:2]
        value = self._assignment()
        if sign != "=":
            value = _wrap(_BINARY[sign[:-1]][1](self._variable(name), value))
        self._variables[name] = str(value)
        return value

    def _choice(self) -> int:
        condition = self._binary(1)
        if self._next() != "?":
            return condition
        del self._tokens[0]
        yes = self._assignment()
        if self._next() != ":":
            self._fail()
        del self._tokens[0]
        no = self._choice()
        return yes if condition else no

    def _binary(self, least: int) -> int:
        left = self._unary()
        while (found := _BINARY.get(self._next())) is not None and found[0] >= least:
            del self._tokens[0]
            left = _wrap(found[1](left, self._binary(found[0] + 1)))
        return left

    def _unary(self) -> int:
        token = self._tokens.pop(0) if self._tokens else ""
        match token:
            case "-":
                return _wrap(-self._unary())
            case "+":
                return self._unary()
            case "!":
                return int(not self._unary())
            case "~":
                return ~self._unary()
            case "(":
                value = self._assignment()
                if self._next() != ")":
                    self._fail()
                del self._tokens[0]
                return value
            case _:
                return self._operand(token)

    def _operand(self, token: str) -> int:
        if token.isidentifier():
            return self._variable(token)
        if not token[:1].isdigit():
            self._fail()
        return _number(token)

    def _variable(self, name: str) -> int:
        text = self._variables.get(name, "").strip()
        return evaluate(text, self._variables) if text and text != name else 0


def _number(token: str) -> int:
    octal = len(token) > 1 and token.startswith("0") and token.isdigit()
    try:
        return int(token, 8 if octal else 0)
    except ValueError as exc:
        message = f"not a valid number: {token}"
        raise ExpansionError(message) from exc


def _wrap(value: int) -> int:
    half = 1 << (_BITS - 1)
    return (value + half) % (1 << _BITS) - half
