"""Env files: variables in order, as written, and as a shell would read them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from layerline.engine.api import dotenv
from layerline.engine.api.fields import field
from layerline.engine.api.objects import Container, EnvVariable, File, Query, Value
from layerline.engine.api.tree_access import file_in, tree_with
from layerline.engine.solve import ops
from layerline.engine.solve.keys import register

if TYPE_CHECKING:
    from collections.abc import Mapping

    from layerline.engine.api.session import Call


@register("EnvFile")
@dataclass(frozen=True, kw_only=True)
class EnvFile(Value):
    """Lines `NAME=value`, the values as they were written."""

    typename: ClassVar[str] = "EnvFile"
    lines: tuple[str, ...] = ()


@field("Query", "envFile")
def env_file(_self: Query, _call: Call, **_deprecated: bool) -> EnvFile:
    """No variables."""
    return EnvFile()


@field("File", "asEnvFile")
async def as_env_file(self: File, call: Call, **_deprecated: bool) -> EnvFile:
    """The variables in a file; blank lines and comments are left out."""
    tree = await tree_with(call, self.tree, self.path)
    data = await call.session.solver.in_thread(file_in(tree, self.path).read)
    found = EnvFile()
    for line in data.decode(errors="replace").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            name, _, value = line.partition("=")
            found = _with(found, name, value)
    return found


@field("EnvFile", "withVariable")
def with_variable(self: EnvFile, _call: Call, *, name: str, value: str) -> EnvFile:
    """Set a variable; an existing one keeps its place."""
    return _with(self, name, value)


@field("EnvFile", "withoutVariable")
def without_variable(self: EnvFile, _call: Call, *, name: str) -> EnvFile:
    """Take a variable away."""
    return replace(self, lines=tuple(line for line in self.lines if _name(line) != name))


@field("EnvFile", "variables")
def variables(self: EnvFile, call: Call, *, raw: bool = False) -> list[EnvVariable]:
    """All variables; `raw` leaves quotes and references as they are written."""
    found = (
        dotenv.raw_values(self.lines) if raw else dotenv.expand_values(self.lines, _environ(call))
    )
    return [EnvVariable(name=name, value=value) for name, value in found.items()]


@field("EnvFile", "get")
def get(self: EnvFile, call: Call, *, name: str, raw: bool = False) -> str:
    """The value of a variable, empty if there is none."""
    found = (
        dotenv.raw_values(self.lines) if raw else dotenv.expand_values(self.lines, _environ(call))
    )
    return found.get(name, "")


@field("EnvFile", "exists")
def exists(self: EnvFile, _call: Call, *, name: str) -> bool:
    """Whether a variable is set."""
    return any(_name(line).strip() == name for line in self.lines)


@field("EnvFile", "namespace")
def namespace(self: EnvFile, call: Call, *, prefix: str) -> EnvFile:
    """The variables whose names begin with a prefix and `_`, in any case, without it."""
    start = prefix.replace("-", "_").lower() + "_"
    found = EnvFile()
    for name, value in dotenv.expand_values(self.lines, _environ(call)).items():
        if name.lower().startswith(start):
            found = _with(found, name[len(start) :], dotenv.quote(value))
    return found


@field("EnvFile", "asFile")
def as_file(self: EnvFile, _call: Call) -> File:
    """The lines as a file `.env`."""
    data = "".join(f"{line}\n" for line in self.lines).encode()
    return File(tree=ops.NewFile(base=ops.Scratch(), path="/.env", data=data), path="/.env")


@field("Container", "withEnvFileVariables")
def with_env_file_variables(self: Container, call: Call, *, source: EnvFile) -> Container:
    """Set all variables of an env file, in order."""
    env = dict(self.config.env) | dotenv.expand_values(source.lines, _environ(call))
    return replace(self, config=replace(self.config, env=tuple(env.items())), image_ref="")


def _with(self: EnvFile, name: str, value: str) -> EnvFile:
    line = f"{name}={value}"
    names = [_name(line) for line in self.lines]
    if name not in names:
        return replace(self, lines=(*self.lines, line))
    at = names.index(name)
    return replace(self, lines=(*self.lines[:at], line, *self.lines[at + 1 :]))


def _name(line: str) -> str:
    return line.partition("=")[0]


def _environ(call: Call) -> Mapping[str, str]:
    """The variables of the client's host."""
    process = call.client.process
    return call.session.settings.environ if process is None else process.environ
