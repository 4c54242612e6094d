"""What commands hand on in a pipeline: a chain of calls, which nobody has evaluated yet.

A state is written as a token, `{DSH:KEY}`, so it can be kept in variables, joined with other text
and passed as an argument; its value takes the token's place where text is needed.
"""

from __future__ import annotations

import base64
import re
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from layerline.engine.module.types import OBJECTS, element_of, reference
from layerline.errors import LayerlineError

if TYPE_CHECKING:
    from layerline.cli.chain.modules import CallTarget
    from layerline.engine.module.definitions import TypeDef
    from layerline.engine.module.types import Member

TOKEN = re.compile(r"\{DSH:([A-Z2-7]+)\}")
_KEY_BYTES = 15


@dataclass(frozen=True, slots=True)
class BoundCall:
    """A function with the values of its arguments; objects stand in them by their ids."""

    member: Member
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The calls that lead to a value; `error` is set where one of them is impossible."""

    target: CallTarget
    calls: tuple[BoundCall, ...] = ()
    error: LayerlineError | None = None

    @property
    def type_def(self) -> TypeDef:
        """The type that the calls end in; that of the API's root without any."""
        return self.calls[-1].member.function.return_type if self.calls else reference("Query")

    def next_member(self, name: str) -> Member:
        """The function of a name that can be called next, by its name in the API or here."""
        type_def = self.type_def
        if element_of(type_def).kind not in OBJECTS:
            before = self.calls[-1].member.command
            message = f'cannot pipe "{name}" after "{before}" returning a non-object type'
            raise LayerlineError(message)
        for member in self.target.types.members(type_def):
            if name in (member.command, member.api_name):
                return member
        shown = self.target.types.shown_name(type_def)
        message = f'no function "{name}" in type "{shown}"'
        raise LayerlineError(message)

    def then(self, member: Member, arguments: dict[str, Any]) -> State:
        """The state after another call."""
        return replace(self, calls=(*self.calls, BoundCall(member, arguments)))


@dataclass(slots=True)
class StateStore:
    """The states of a shell by their keys."""

    states: dict[str, State] = field(default_factory=dict)

    def token(self, state: State) -> str:
        """The token of a state, new each time."""
        key = base64.b32encode(secrets.token_bytes(_KEY_BYTES)).decode()
        self.states[key] = state
        return f"{{DSH:{key}}}"

    def load(self, text: str) -> State | None:
        """The state of a text that is one token; None for any other text."""
        match = TOKEN.fullmatch(text)
        if match is None:
            return None
        if match[1] not in self.states:
            message = f'tried to access non-existent state "{match[1]}"'
            raise LayerlineError(message)
        return self.states[match[1]]


def has_token(text: str) -> bool:
    """Whether a text contains a state."""
    return TOKEN.search(text) is not None
