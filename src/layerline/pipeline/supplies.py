"""What this machine has for downloads, given to steps without a trace in their keys.

Wheels and certificates are copied into a cache volume, below a name that their content decides;
arguments for the installers, credentials and hosts are secrets. A step has the same mounts and
names of variables whatever it is supplied with, so its key does not tell one machine from another.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import dagger
from dagger import dag

from layerline.pipeline.network import Network
from layerline.pipeline.object_ids import IdCache
from layerline.pipeline.target import Target
from layerline.pipeline.wheels import SUPPLIES, Wheels

ARGUMENTS = "/mnt/arguments"
_OFFLINE = "OFFLINE"
_PAGES = "INDEX_PAGES"
_CA_BUNDLE = "CA_BUNDLE"
_CA_FILE = "ca-bundle.crt"
_GIVEN = "/mnt/given"
_NETRC = "/mnt/netrc"
_MASKED = "/mnt/masked"
_VOLUME = "layerline-supplies-v1"
_PROGRAM = Path(__file__).parent / "programs" / "supply.sh"
# What the programs say if the volume was removed after it had been filled.
_EMPTIED = "is missing from the cache volume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounts:
    """The mounts and variables of one step; `step` names its secrets.

    `pages` are those of single packages in indexes that are used for no others.
    """

    step: str
    network: Network
    certificates: str
    arguments: Sequence[str] = ()
    pages: Sequence[str] = ()
    ids: IdCache = field(default_factory=IdCache)

    def add(self, container: dagger.Container) -> dagger.Container:
        """Prepare a container for an exec that downloads or installs."""
        secrets = {
            _NETRC: ("netrc", self.network.netrc),
            _MASKED: ("masked", "\n".join(self.network.masked)),
            ARGUMENTS: (f"arguments-{self.step}", "\n".join(self.arguments)),
        }
        for path, (name, text) in secrets.items():
            secret = self.ids.secret(f"layerline-{name}", text)
            container = container.with_mounted_secret(path, secret)
        return (
            container.with_mounted_cache(SUPPLIES, self.ids.volume(_VOLUME))
            .with_volatile_variable(_OFFLINE, "1" if self.network.offline else "")
            .with_volatile_variable(_CA_BUNDLE, self.certificates)
            .with_volatile_variable(_PAGES, " ".join(self.pages))
            .with_env_variable("NETRC", _NETRC)
        )

    def remove(self, container: dagger.Container) -> dagger.Container:
        """Undo `add`."""
        for path in (SUPPLIES, ARGUMENTS, _MASKED, _NETRC):
            container = container.without_mount(path)
        return (
            container.without_volatile_variable(_OFFLINE)
            .without_volatile_variable(_CA_BUNDLE)
            .without_volatile_variable(_PAGES)
            .without_env_variable("NETRC")
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Supplies:
    """Fills the cache volume, with the base image's own `cp`; `filled` is by directory."""

    base: str
    target: Target
    wheels: Wheels
    network: Network
    filled: dict[str, dagger.Directory] = field(default_factory=dict)
    ids: IdCache = field(default_factory=IdCache)

    async def of(self, step: str, projects: Iterable[str] = ()) -> Mounts:
        """The mounts of a step that installs those projects."""
        projects = tuple(projects)
        files = await self.wheels.of(projects)
        directories = [] if files is None else [await self._fill(files)]
        return Mounts(
            step=step,
            network=self.network,
            certificates=await self._certificates(),
            arguments=self.wheels.arguments(*directories),
            pages=self.target.pages(projects),
            ids=self.ids,
        )

    async def again(self, evaluate: Callable[[], Awaitable[str]]) -> str:
        """Evaluate a step; if the volume was removed since it was filled, fill it and repeat."""
        try:
            return await evaluate()
        except dagger.ExecError as exc:
            if _EMPTIED not in exc.stderr:
                raise
        for name, files in self.filled.items():
            await self._filling(name, files, asked_at=datetime.now(UTC).isoformat()).sync()
        return await evaluate()

    async def _certificates(self) -> str:
        """The path of the user's own certificates in a step; empty without any."""
        if self.network.ca_bundle is None:
            return ""
        files = dag.directory().with_file(_CA_FILE, self.network.ca_bundle)
        return f"{await self._fill(files)}/{_CA_FILE}"

    async def _fill(self, files: dagger.Directory) -> str:
        name = (await files.digest()).rpartition(":")[2][:16]
        if name not in self.filled:
            self.filled[name] = files
            await self._filling(name, files).sync()
        return f"{SUPPLIES}/{name}"

    def _filling(
        self, name: str, files: dagger.Directory, *, asked_at: str = ""
    ) -> dagger.Container:
        """The step that copies files; a time makes it another one than that of before."""
        return (
            dag.container()
            .from_(self.base)
            .with_mounted_cache(SUPPLIES, self.ids.volume(_VOLUME))
            .with_mounted_directory(_GIVEN, files)
            .with_env_variable("ASKED_AT", asked_at)
            .with_exec(["sh", "-s", "--", _GIVEN, f"{SUPPLIES}/{name}"], stdin=_PROGRAM.read_text())
        )
