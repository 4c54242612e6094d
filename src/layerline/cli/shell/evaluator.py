"""The values of states: chains of calls evaluated in the session of a shell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layerline.cli.chain.engine_session import SessionBackend
from layerline.cli.chain.evaluate import Evaluation
from layerline.cli.display.output import render
from layerline.cli.shell.states import TOKEN, State, StateStore
from layerline.engine.module.arguments import Reader
from layerline.engine.module.calls import Caller
from layerline.engine.module.types import OBJECTS, element_of

if TYPE_CHECKING:
    from layerline.cli.chain.evaluate import ChainResult
    from layerline.cli.chain.modules import CallTarget
    from layerline.cli.console import Console
    from layerline.engine.api.session import Session
    from layerline.engine.module.definitions import Function, Json


@dataclass(slots=True, kw_only=True, eq=False)
class Evaluator:
    """Evaluates the states of one shell."""

    console: Console
    session: Session
    store: StateStore

    def evaluation(self, target: CallTarget) -> Evaluation:
        """The evaluation of calls of a module, or of the core."""
        caller = Caller.of(self.session, target.loaded) if target.loaded else None
        reader = Reader(store=self.session.store)
        return Evaluation(
            backend=SessionBackend(session=self.session, caller=caller, reader=reader),
            types=target.types,
            workdir=self.console.workdir,
            home=self.console.settings.home,
        )

    async def result(self, state: State) -> ChainResult:
        """The value of a state, an object as what names it."""
        if state.error is not None:
            raise state.error
        evaluation = self.evaluation(state.target)
        value: Json = None
        typename = "Query"
        for call in state.calls:
            arguments = call.arguments
            if call.member.owner and not call.member.is_field:
                function = call.member.function
                arguments = await evaluation.backend.complete_arguments(function, arguments)
            value = await evaluation.apply(call.member, value, typename, arguments)
            typename = element_of(call.member.function.return_type).name
        return await evaluation.finish(value, state.type_def, "")

    async def text(self, state: State) -> str:
        """What is printed for a state."""
        found = await self.result(state)
        return render(found.value, found.type_def, state.target.types, as_json=False)

    async def resolve(self, text: str) -> str:
        """A text with the values of its states in the place of their tokens."""
        found: list[str] = []
        place = 0
        for match in TOKEN.finditer(text):
            state = self.store.load(match[0])
            assert state is not None
            found += [text[place : match.start()], await self.text(state)]
            place = match.end()
        return "".join((*found, text[place:]))

    async def objects(self, state: State) -> Json:
        """The id of the object that a state is, or the ids of a list; None if it is none."""
        if element_of(state.type_def).kind not in OBJECTS:
            return None
        found = await self.result(state)
        if state.target.loaded is None or found.value is None:
            return found.value
        caller = Caller.of(self.session, state.target.loaded)
        await caller.define()
        return caller.conversion.plain(caller.conversion.result(found.type_def, found.value))

    async def own_arguments(
        self, target: CallTarget, function: Function, given: dict[str, Any]
    ) -> dict[str, Any]:
        """Ids as a module's function takes them: objects of its own by their states."""
        if target.loaded is None:
            return given
        caller = Caller.of(self.session, target.loaded)
        await caller.define()
        return await caller.conversion.arguments(function, given)
