"""`install`, `uninstall`, `update` and `toolchain`: the modules that a module uses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from layerline import host
from layerline.cli.chain.modules import load
from layerline.cli.chain.parser import short
from layerline.cli.commands.flag_parsing import (
    add_text_flag,
    parse_flags,
    parse_operands,
    print_help,
)
from layerline.cli.display.help import columns
from layerline.cli.flags import FlagSet
from layerline.cli.manage import related
from layerline.cli.manage.generation import generate
from layerline.cli.manage.module_file import LATEST, ModuleFile, failing, local_module
from layerline.cli.manage.related import DEPENDENCY, PLURALS, TOOLCHAIN, RelatedModule
from layerline.cli.options import reference_flags
from layerline.engine import Store
from layerline.engine.module.git_modules import GitModules
from layerline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from layerline.cli.chain.modules import CallTarget
    from layerline.cli.console import Console
    from layerline.engine.module.source import FetchModule, ModuleConfig

_ABOUT = {
    "install": "Add a module to the dependencies of a module, by path or git reference",
    "uninstall": "Remove a module from the dependencies of a module",
    "update": "Update the dependencies of a module that are in git repositories, or only some",
    "toolchain install": "Add a module to the toolchains of a module",
    "toolchain uninstall": "Remove a module from the toolchains of a module",
    "toolchain update": "Update the toolchains of a module that are in git repositories",
    "toolchain list": "List the toolchains of a module",
}
_USES = {"install": "[options] <module>", "uninstall": "[options] <module>"}
_PAST = {"install": "installed", "uninstall": "uninstalled", "update": "updated"}


def install(console: Console, argv: Sequence[str]) -> int:
    """Add a dependency."""
    return _change(console, argv, DEPENDENCY, "install")


def uninstall(console: Console, argv: Sequence[str]) -> int:
    """Remove a dependency."""
    return _change(console, argv, DEPENDENCY, "uninstall")


def update(console: Console, argv: Sequence[str]) -> int:
    """Update dependencies."""
    return _change(console, argv, DEPENDENCY, "update")


def toolchain(console: Console, argv: Sequence[str]) -> int:
    """Manage toolchains."""
    path = f"{console.program} toolchain"
    given = [arg for arg in argv if not arg.startswith("-")]
    actions = ("install", "list", "uninstall", "update")
    if given and given[0] in actions:
        rest = list(argv)
        rest.remove(given[0])
        if given[0] == "list":
            return _list(console, rest)
        return _change(console, rest, TOOLCHAIN, given[0])
    if console.options.help or not given:
        rows = [(name, _ABOUT[f"toolchain {name}"]) for name in actions]
        about = "Manage the toolchains of a module"
        print_help(console, about=about, path=path, use="[options] [command]", commands=rows)
        return 0
    message = f'unknown command "{given[0]}" for "{path}"'
    raise UsageError(message, usage=path)


def _change(console: Console, argv: Sequence[str], kind: str, action: str) -> int:
    """Do an action on the related modules of one kind, and write what follows from it."""
    title = action if kind == DEPENDENCY else f"{kind} {action}"
    path = f"{console.program} {title}"
    flags = reference_flags(FlagSet((console.flags,)))
    compat = add_text_flag(flags, "compat", usage="Engine API version to target")
    compat.default = LATEST
    name = FlagSet() if action != "install" else flags
    name_flag = add_text_flag(name, "name", short="n", usage=f"The name of the {kind}")
    operands = parse_operands(flags, argv, path)
    console.settle(flags)
    if console.options.help:
        use = _USES.get(action, f"[options] [{kind}]...")
        print_help(console, about=_ABOUT[title], path=path, use=use, local=flags)
        return 0
    if action != "update" and len(operands) != 1:
        message = f"accepts 1 arg(s), received {len(operands)}"
        raise UsageError(message, usage=path)
    config = local_module(console)
    change = _Change(
        config=config,
        workdir=console.workdir,
        kind=kind,
        action=action,
        operands=operands,
        name=str(name_flag.value or ""),
        version=str(compat.value or LATEST),
    )
    host.become_root()  # of the store, whose files belong to many users
    with Store.open(console.settings.store) as store:
        fetch = GitModules(store=store, settings=console.settings).fetch
        new = change.find_new(fetch)
        with failing(change.failure):
            file, changed = change.make(new, fetch)
    with failing(change.failure):
        generate(console, file, changed)
    if kind == TOOLCHAIN:
        console.print(f"toolchain{'s' if action == 'update' else ''} {_PAST[action]}\n")
    elif new:
        console.print(f'Installed module dependency "{new[0].name}"\n')
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """A change of the modules that a module is related to."""

    config: ModuleConfig
    workdir: Path
    kind: str
    action: str
    operands: Sequence[str]
    name: str
    version: str

    @property
    def failure(self) -> str:
        """What the error begins with."""
        if (self.kind, self.action) == (DEPENDENCY, "uninstall"):
            return "failed to update dependencies"
        what = PLURALS[self.kind] if self.action == "update" else self.kind
        return f"failed to {self.action} {what}"

    def find_new(self, fetch: FetchModule) -> list[RelatedModule]:
        """The module to be installed, if one is."""
        if self.action != "install":
            return []
        argument = self.operands[0]
        return [
            related.find_related(
                self.config, argument, self.name, workdir=self.workdir, fetch=fetch
            )
        ]

    def make(
        self, new: Sequence[RelatedModule], fetch: FetchModule
    ) -> tuple[ModuleFile, ModuleConfig]:
        """The file as it is to be, and the module that it describes."""
        file = ModuleFile.read(self.config.root)
        key = PLURALS[self.kind]
        present = related.read_related(self.config, file.document.get(key) or (), fetch)
        if self.action == "uninstall":
            changed = related.remove(present, self.operands[0], self.kind)
        else:
            found = new or related.update(present, self.operands, self.kind, fetch)
            changed = related.add(self.config, present, found, self.kind)
        file.set(key, [each.entry() for each in changed])
        file.target(self.version, self.config)
        dependencies = tuple(each.dependency() for each in changed)
        if self.kind == DEPENDENCY:
            return file, replace(self.config, dependencies=dependencies)
        return file, replace(self.config, toolchains=dependencies)


def _list(console: Console, argv: Sequence[str]) -> int:
    """Print the names of toolchains, and what they are for."""
    flags = reference_flags(FlagSet((console.flags,)))
    path = f"{console.program} toolchain list"
    parse_flags(flags, argv, path)
    console.settle(flags)
    if console.options.help:
        print_help(console, about=_ABOUT["toolchain list"], path=path, local=flags)
        return 0
    local_module(console)
    toolchains = load(console).toolchains
    rows = sorted((name, short_description(each)) for name, each in toolchains.items())
    console.print(columns([("Name", "Description"), *rows]))
    return 0


def short_description(target: CallTarget) -> str:
    """The first line of what a module says of itself."""
    definition = target.types.definition
    return short(definition.description if definition is not None else "")
