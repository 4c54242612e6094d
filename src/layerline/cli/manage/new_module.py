"""A new Dagger module: `init` with an SDK, a name, a source, a blueprint or a path."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerline import host
from layerline.cli.manage import related
from layerline.cli.manage.generation import generate
from layerline.cli.manage.license_file import write_license
from layerline.cli.manage.module_file import ModuleFile, failing
from layerline.cli.manage.sdk_choice import check_sdk, default_source, relative_source
from layerline.engine import Store
from layerline.engine.module.git_modules import GitModules
from layerline.engine.module.source import CONFIG, ENGINE_VERSION, ModuleConfig, normal_path
from layerline.errors import LayerlineError

if TYPE_CHECKING:
    from layerline.cli.console import Console


@dataclass(frozen=True, slots=True, kw_only=True)
class NewModule:
    """What is asked for; `license` is None where it was not said."""

    path: str
    name: str = ""
    sdk: str = ""
    source: str = ""
    blueprint: str = ""
    include: tuple[str, ...] = ()
    license: str | None = None
    self_calls: bool = False

    def create(self, console: Console) -> None:
        """Write the module; a directory that has one is left as it is."""
        config = self._config(Path(normal_path(console.workdir / self.path)))
        if (config.root / CONFIG).exists():
            message = "module already exists"
            raise LayerlineError(message)
        self._check()
        if self.sdk:
            check_sdk(self.sdk)
            place = (
                relative_source(config, console.workdir, self.source)
                if self.source
                else default_source(config.root)
            )
            config = replace(config, source=place)
        file = ModuleFile(root=config.root, document=self._document(config))
        if self.blueprint:
            with failing("failed to generate code"):
                file.set("blueprint", self._blueprint(console, config))
        with failing("failed to generate code"):
            generate(console, file, config)
        if self.sdk:
            write_license(console, config.root, config.context, self.license)
        made = f"Initialized module {config.name} in {config.root}"
        console.print(
            f"{made} with blueprint {self.blueprint}\n" if self.blueprint else f"{made}\n"
        )

    def _config(self, root: Path) -> ModuleConfig:
        context = next((p for p in (root, *root.parents) if (p / ".git").exists()), root)
        return ModuleConfig(
            name=self.name or root.name,
            root=root,
            context=context,
            source=".",
            include=self.include,
            caching=True,
            has_code=bool(self.sdk),
        )

    def _check(self) -> None:
        if self.blueprint and self.sdk:
            message = "cannot specify both --sdk and --blueprint; use one or the other"
            raise LayerlineError(message)
        if self.self_calls and not self.sdk:
            message = "cannot enable self-calls feature without specifying --sdk"
            raise LayerlineError(message)

    def _document(self, config: ModuleConfig) -> dict[str, Any]:
        document: dict[str, Any] = {"name": config.name, "engineVersion": ENGINE_VERSION}
        if self.sdk:
            document["sdk"] = {"source": self.sdk}
            if self.self_calls:
                document["sdk"]["experimental"] = {"SELF_CALLS": True}
        if self.include:
            document["include"] = list(self.include)
        if config.source != ".":
            document["source"] = config.source
        return document

    def _blueprint(self, console: Console, config: ModuleConfig) -> dict[str, Any]:
        host.become_root()  # of the store, whose files belong to many users
        with Store.open(console.settings.store) as store:
            fetch = GitModules(store=store, settings=console.settings).fetch
            found = related.find_related(
                config, self.blueprint, "", workdir=console.workdir, fetch=fetch
            )
        (added,) = related.add(config, (), [found], related.DEPENDENCY)
        return added.entry()
