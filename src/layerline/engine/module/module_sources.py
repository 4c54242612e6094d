"""Sources of modules as values of the API: where one is, what its dagger.json says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from layerline.engine.api.objects import Directory, Value
from layerline.engine.solve.keys import register

LOCAL, GIT, DIR = "LOCAL_SOURCE", "GIT_SOURCE", "DIR_SOURCE"


@register("SDKConfig")
@dataclass(frozen=True, kw_only=True)
class SDKConfig(Value):
    """The SDK that a dagger.json names."""

    typename: ClassVar[str] = "SDKConfig"
    source: str
    debug: bool = False


@register("ModuleSource")
@dataclass(frozen=True, kw_only=True)
class ModuleSource(Value):
    """A module's source. `digest` is the identity of the module, by which the session calls it.

    Paths are relative to the context, which is the repository around the module.
    """

    typename: ClassVar[str] = "ModuleSource"
    kind: str
    digest: str
    as_string: str
    module_name: str
    module_original_name: str
    engine_version: str
    context_directory: Directory
    source_root_subpath: str
    source_subpath: str
    original_subpath: str
    local_context_directory_path: str = ""
    clone_ref: str = ""
    repo_root_path: str = ""
    version: str = ""
    commit: str = ""
    pin: str = ""
    config_exists: bool = True
    sdk: SDKConfig | None = None
    dependencies: tuple[ModuleSource, ...] = ()
    toolchains: tuple[ModuleSource, ...] = ()
    config_clients: tuple[str, ...] = ()
