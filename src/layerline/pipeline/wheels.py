"""Where wheels come from: the installers' default index, another one, or a directory of wheels."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import dagger

WHEELHOUSE = "/mnt/wheelhouse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheels:
    """Sources of wheels; an empty index means the installers' default."""

    index_url: str
    extra_index_url: str
    wheelhouse: dagger.Directory | None

    def of(self, projects: Iterable[str]) -> "Wheels":
        """The same sources with those projects' wheels only, to keep others out of step keys."""
        if self.wheelhouse is None:
            return self
        patterns = [files_of(name) for name in sorted(projects)]
        return replace(self, wheelhouse=self.wheelhouse.filter(include=patterns))

    def arguments(self) -> list[str]:
        """The same flags for pip and for uv."""
        flags = {
            "--index-url": self.index_url,
            "--extra-index-url": self.extra_index_url,
            "--find-links": WHEELHOUSE if self.wheelhouse else "",
        }
        return [f"{flag}={value}" for flag, value in flags.items() if value]

    async def identity(self) -> dict[str, str]:
        """The digest of the wheelhouse, by flag."""
        return {"--wheelhouse": await self.wheelhouse.digest() if self.wheelhouse else ""}

    def mount(self, container: dagger.Container) -> dagger.Container:
        """Mount the wheelhouse where `arguments` refers to it."""
        if self.wheelhouse is None:
            return container
        return container.with_mounted_directory(WHEELHOUSE, self.wheelhouse)

    def unmount(self, container: dagger.Container) -> dagger.Container:
        """Undo `mount`."""
        return container if self.wheelhouse is None else container.without_mount(WHEELHOUSE)


def files_of(project: str) -> str:
    """A pattern for the file names of a project's wheels and sdists in any spelling."""
    spelt = (
        f"[{char}{char.upper()}]" if char.isalpha() else char if char.isdigit() else "?"
        for char in project
    )
    return f"{''.join(spelt)}-[0-9]*"
