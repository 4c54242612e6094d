"""argparse with errors like those of all other commands; Python 3.9, as the doctor uses it too."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from layerline.errors import UsageError
from layerline.suggestion import did_you_mean, what_instead

_REQUIRED = "the following arguments are required: "


class ArgumentParser(argparse.ArgumentParser):
    """A parser that raises a UsageError; flags are not abbreviated."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - those of argparse
        super().__init__(**{"allow_abbrev": False, **settings, "exit_on_error": False})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:  # noqa: ANN401
        """Parse all arguments: what is left is an error of the innermost command, which knows."""
        try:
            found, rest = super().parse_known_args(args, namespace)
        except argparse.ArgumentError as exc:
            raise self._usage_error(self._reworded(exc)) from exc
        if rest:
            raise self._usage_error(self._unknown(rest[0]))
        return found, rest

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print with the usage."""
        if message.startswith(_REQUIRED):
            names = message[len(_REQUIRED) :].split(", ")
            message = f"{', '.join(names)} is missing"
            for choices in map(self._choices, names[:1]):
                message += f": use one of {', '.join(choices)}" if choices else ""
        raise self._usage_error(message)

    def _usage_error(self, message: str) -> UsageError:
        return UsageError(message, usage=self.prog)

    def _unknown(self, arg: str) -> str:
        if not arg.startswith("-"):
            return f"unexpected argument '{arg}'"
        name = arg.partition("=")[0]
        known = [
            each[2:]
            for action in self._actions
            for each in action.option_strings
            if each.startswith("--")
        ]
        return f"unknown flag: {name}{did_you_mean(name.lstrip('-'), known, prefix='--')}"

    def _reworded(self, exc: argparse.ArgumentError) -> str:
        """An error of argparse in the words of the other commands."""
        name = max((exc.argument_name or "").split("/"), key=len)
        wrong = exc.message.partition("invalid choice: ")[2].partition(" (choose from")[0]
        choices = self._choices(exc.argument_name or "")
        if wrong and choices:
            wrong = wrong.strip("'")
            what = f"value '{wrong}' for {name}" if name.startswith("-") else f"command '{wrong}'"
            kind = "invalid" if name.startswith("-") else "unknown"
            return f"{kind} {what}{what_instead(wrong, choices)}"
        if exc.message.startswith("expected "):
            return f"flag needs an argument: {name}"
        return f"{name}: {exc.message}" if name else exc.message

    def _choices(self, name: str) -> list[str]:
        """What an argument may be; empty where that is not a list."""
        for action in self._actions:
            if name in ("/".join(action.option_strings), action.metavar, action.dest):
                return [str(each) for each in action.choices or ()]
        return []
