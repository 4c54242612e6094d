"""The user's defaults for arguments: `.env` files.

The one next to the module's dagger.json names the arguments of the constructor (`NAME`), of
functions (`TEXT_NAME`) and of functions of other objects (`REPORT_TEXT_NAME`). The nearest one
around the working directory has the module's name before that (`SAMPLE_TEXT_NAME`), and counts
first. Case and underscores do not matter; a value is what a flag would hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from layerline.engine.api.dotenv import expand_values
from layerline.errors import LayerlineError, ModuleError
from layerline.text_file import read_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from layerline.engine.module.definitions import FunctionArg
    from layerline.engine.module.source import ModuleConfig
    from layerline.engine.module.types import Member

NAME = ".env"
_SEPARATORS = re.compile(r"[-_. ]")


@dataclass(frozen=True, slots=True, kw_only=True)
class UserDefaults:
    """The texts by their keys, which are spelled without separators and in small letters.

    `machine` has those of the constructor that the machine is configured with, which count last,
    `functions` those of the main object's functions; `used` gets the keys of the first that were
    asked for.
    """

    main_object: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)
    functions: Mapping[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def text(self, member: Member, arg: FunctionArg) -> str | None:
        """The user's default for an argument; None without one."""
        function = member.function.name
        owner = member.owner if function and _key(member.owner) != _key(self.main_object) else ""
        key = _key(owner, function, arg.name)
        if function or key in self.texts:
            known = {_key(name): text for name, text in self.functions.items()}
            return self.texts.get(key, known.get(key))
        for name, text in self.machine.items():
            if _key(name) == key:
                self.used.add(name)
                return text
        return None


def read_defaults(
    config: ModuleConfig, main_object: str, *, workdir: Path, environ: Mapping[str, str]
) -> UserDefaults:
    """The defaults for a module of a user in `workdir`; references are to `environ`.

    The file of a module from elsewhere is not read: it would name the user's variables and secrets.
    """
    inner = config.root / NAME
    around = (directory / NAME for directory in (workdir, *workdir.parents))
    outer = next((path for path in around if path.is_file()), None)
    prefix = _key(config.name)
    own = inner.is_file() and not config.is_foreign
    texts = _texts(inner, environ) if own else {}
    if outer is not None:
        texts |= _texts(outer, environ, prefix)
    return UserDefaults(main_object=main_object, texts=texts)


def _texts(path: Path, environ: Mapping[str, str], prefix: str = "") -> dict[str, str]:
    """The values whose keys have a prefix; a file without any is not parsed."""
    text = read_text(path, hint="write it in UTF-8, or move it away", error=ModuleError)
    lines = [line.strip() for line in text.splitlines()]
    if not any(_key(line).startswith(prefix) for line in lines):
        return {}
    try:
        found = expand_values([x for x in lines if x and not x.startswith("#")], environ)
    except LayerlineError as exc:
        message = f"{path} cannot be read: {exc}"
        raise ModuleError(message) from exc
    keys = {_key(name): value for name, value in found.items()}
    return {key.removeprefix(prefix): text for key, text in keys.items() if key.startswith(prefix)}


def _key(*parts: str) -> str:
    return _SEPARATORS.sub("", "".join(parts)).casefold()
