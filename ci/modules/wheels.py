"""Where wheels come from: the installers' default index, another one, or a directory of wheels."""

from dataclasses import dataclass

import dagger

WHEELHOUSE = "/mnt/wheelhouse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheels:
    """The sources of wheels; an empty index is the installers' default."""

    index_url: str
    extra_index_url: str
    wheelhouse: dagger.Directory | None

    def arguments(self) -> list[str]:
        """The same flags for pip and for uv."""
        flags = {
            "--index-url": self.index_url,
            "--extra-index-url": self.extra_index_url,
            "--find-links": WHEELHOUSE if self.wheelhouse else "",
        }
        return [f"{flag}={value}" for flag, value in flags.items() if value]

    def mounted(self, container: dagger.Container) -> dagger.Container:
        """The container in which the flags hold."""
        if self.wheelhouse is None:
            return container
        return container.with_mounted_directory(WHEELHOUSE, self.wheelhouse)

    def unmounted(self, container: dagger.Container) -> dagger.Container:
        """The container as it was before `mounted`."""
        return container if self.wheelhouse is None else container.without_mount(WHEELHOUSE)
