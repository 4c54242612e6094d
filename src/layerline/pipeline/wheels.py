"""Where wheels come from: the installers' default index, another one, or a directory of wheels."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import dagger

WHEELHOUSE = "/mnt/wheelhouse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheels:
    """The sources of wheels; an empty index is the installers' default."""

    index_url: str
    extra_index_url: str
    wheelhouse: dagger.Directory | None

    def of(self, projects: Iterable[str]) -> "Wheels":
        """The same sources with those projects' wheels alone: others are in no key of a step."""
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

    async def held(self) -> dict[str, str]:
        """The identity of what the wheelhouse has, by the flag that gave it."""
        return {"--wheelhouse": await self.wheelhouse.digest() if self.wheelhouse else ""}

    def mounted(self, container: dagger.Container) -> dagger.Container:
        """The container in which the flags hold."""
        if self.wheelhouse is None:
            return container
        return container.with_mounted_directory(WHEELHOUSE, self.wheelhouse)

    def unmounted(self, container: dagger.Container) -> dagger.Container:
        """The container as it was before `mounted`."""
        return container if self.wheelhouse is None else container.without_mount(WHEELHOUSE)


def files_of(project: str) -> str:
    """A pattern of the names that wheels and sources of a project have, however they spell it."""
    spelt = (
        f"[{char}{char.upper()}]" if char.isalpha() else char if char.isdigit() else "?"
        for char in project
    )
    return f"{''.join(spelt)}-[0-9]*"
