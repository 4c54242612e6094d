"""`query`: one GraphQL query, answered in a session of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from layerline.cli.chain.modules import load_for_queries
from layerline.cli.commands.flag_parsing import add_text_flag, parse_operands, print_help
from layerline.cli.flags import FlagSet
from layerline.cli.options import reference_flags
from layerline.errors import QueryError, UsageError
from layerline.text_file import read_standard_input, read_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.cli.console import Console
    from layerline.engine.api.session import Session
    from layerline.engine.module.loading import LoadedModule

_ABOUT = "Send API queries to the engine"
_ANSWERED = 200


def query(console: Console, argv: Sequence[str]) -> int:
    """Answer one GraphQL query from --doc or standard input."""
    path = f"{console.program} query"
    flags = reference_flags(FlagSet((console.flags,)))
    doc = add_text_flag(flags, "doc", usage="Read query from file (defaults to reading from stdin)")
    pairs = add_text_flag(flags, "var", usage="List of query variables, in key=value format")
    pairs.repeated, pairs.parse, pairs.kind = True, lambda text: [text], "strings"
    document = add_text_flag(
        flags, "var-json", usage="Query variables in JSON format (overrides --var)"
    )
    operands = parse_operands(flags, argv, path)
    console.settle(flags)
    if console.options.help:
        print_help(console, about=_ABOUT, path=path, use="[options] [operation]", local=flags)
        return 0
    if len(operands) > 1:
        message = f"accepts at most 1 arg(s), received {len(operands)}"
        raise UsageError(message, usage=path)
    text = _document(console, doc.value)
    variables = _variables(pairs.value or [], document.value, path)
    loaded = load_for_queries(console)
    console.enter()
    data = _answer(console, text, variables, loaded, operands[0] if operands else None)
    console.print(json.dumps(data, ensure_ascii=False, indent=4, sort_keys=True) + "\n")
    return 0


def _document(console: Console, name: str | None) -> str:
    """The text of the query."""
    if not name:
        return read_standard_input()
    hint = "name a file with a query, or leave --doc out and give the query on standard input"
    return read_text(console.workdir / name, shown=name, hint=hint)


def _answer(
    console: Console,
    text: str,
    variables: dict[str, Any],
    loaded: LoadedModule | None,
    operation: str | None,
) -> dict[str, Any]:
    from layerline.cli.chain.engine_session import run_in_session
    from layerline.engine.api.execute import answer
    from layerline.engine.module.calls import Caller

    async def work(served: Session) -> dict[str, Any]:
        served.keeps_ids = True
        if loaded is not None:
            caller = Caller.of(served, loaded)
            await caller.serve(served.main, dependencies=True, entrypoint=True)
        got = await answer(text, served.call(), variables=variables, operation=operation)
        if got.status != _ANSWERED:
            body = json.dumps(got.body, ensure_ascii=False, separators=(",", ":"))
            message = f"make request: returned error {got.status}: {body}"
            raise QueryError(message)
        if got.failure is not None:
            raise got.failure
        data: dict[str, Any] = got.body["data"]
        return data

    return run_in_session(console, work)


def _variables(pairs: Sequence[str], document: str | None, path: str) -> dict[str, Any]:
    """The variables of --var, or those of --var-json in their place."""
    variables: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            message = f"invalid value '{pair}' for --var: use NAME=VALUE"
            raise UsageError(message, usage=path)
        variables[name] = value
    if document:
        try:
            variables = dict(json.loads(document))
        except (ValueError, TypeError) as exc:
            message = f"invalid value '{document}' for --var-json: use a JSON object"
            raise UsageError(message, usage=path) from exc
    return variables
