"""Where wheels come from: the installers' default index, other ones, and directories of wheels.

Invariant: none of it is in the key of an installation, which the hashes of the lock decide. Indexes
are arguments in a secret file; wheels are copied into a cache volume before they are needed.
"""

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import dagger

# In every step that installs: the cache volume with this machine's wheels and certificates.
SUPPLIES = "/mnt/supplies"
# In the step that resolves, whose result may depend on them: all wheels as they are.
WHEELHOUSE = "/mnt/wheelhouse"
_LOOPBACK = ("localhost", "127.", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheels:
    """Sources of wheels; an empty index means the installers' default."""

    index_url: str
    extra_index_urls: tuple[str, ...]
    wheelhouse: dagger.Directory | None
    _listing: list[str] = field(default_factory=list, init=False, compare=False)

    async def of(self, projects: Iterable[str]) -> dagger.Directory | None:
        """Those files of the wheelhouse that belong to projects; None if there are none."""
        patterns = [files_of(name) for name in sorted(projects)]
        if self.wheelhouse is None or not patterns:
            return None
        if not self._listing:  # once for all steps, most of which have nothing in it
            self._listing.extend(each.rstrip("/") for each in await self.wheelhouse.entries())
        if not any(fnmatch.filter(self._listing, pattern) for pattern in patterns):
            return None
        return self.wheelhouse.filter(include=patterns)

    @property
    def indexes(self) -> tuple[str, ...]:
        """The URLs of all indexes that were named."""
        return tuple(filter(None, (self.index_url, *self.extra_index_urls)))

    @property
    def hosts(self) -> tuple[str, ...]:
        """Hosts of the indexes, which logs do not show; those of this machine tell nothing."""
        found = {urlsplit(url).netloc for url in self.indexes}
        return tuple(sorted(each for each in found if each and not each.startswith(_LOOPBACK)))

    def arguments(self, *directories: str) -> list[str]:
        """The arguments for pip and for uv alike."""
        default = [f"--index-url={self.index_url}"] if self.index_url else []
        return [
            *default,
            *(f"--extra-index-url={url}" for url in self.extra_index_urls),
            *(f"--find-links={each}" for each in directories),
        ]


def files_of(project: str) -> str:
    """A pattern for the file names of a project's wheels and sdists in any spelling."""
    spelt = (
        f"[{char}{char.upper()}]" if char.isalpha() else char if char.isdigit() else "?"
        for char in project
    )
    return f"{''.join(spelt)}-[0-9]*"
