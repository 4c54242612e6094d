"""The targets of a `layerline.toml`: platforms with the indexes and locks of their packages."""

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from layerline.pipeline.values import IndexUrl, Name, Path, Table


class Index(Table):
    """A package index for some packages and no others, in addition to the default one."""

    url: IndexUrl = Field(
        description="URL of a package index (PEP 503)",
        examples=["https://download.pytorch.org/whl/cpu"],
    )
    packages: tuple[Name, ...] = Field(
        description="Packages to look for in it", min_length=1, examples=[["torch"]]
    )

    def pages(self, projects: Iterable[str] | None = None) -> tuple[str, ...]:
        """The pages of its packages, or of those among some projects."""
        wanted = set(self.packages if projects is None else projects)
        return tuple(f"{self.url.rstrip('/')}/{name}/" for name in self.packages if name in wanted)


class Target(Table):
    """A platform that wheels are for. `cuda` is the major version of CUDA, empty without CUDA.

    `architectures` are the GPUs (compute capabilities) that compiled code must support; `uncovered`
    are patterns of libraries that may lack some. `groups`
    are locked together with those of its images but installed in none of them: test tools, say.
    """

    cuda: str = Field(
        description=(
            "Major version of CUDA; empty for targets without CUDA, whose images then refuse "
            "`nvidia-*` packages"
        ),
        default="",
        pattern=r"^\d*$",
        examples=["13"],
    )
    architectures: tuple[str, ...] = Field(
        description=(
            "Compute capabilities of the GPUs that every library with GPU code must be compiled for"
        ),
        default=(),
        examples=[["80", "90"]],
    )
    uncovered: tuple[str, ...] = Field(
        description=(
            "Patterns of shared libraries whose GPU code need not cover all of `architectures`"
        ),
        default=(),
        examples=[["libflash_attn*.so"]],
    )
    groups: tuple[str, ...] = Field(
        description=(
            "Groups to lock together with those of the images and to install in none of them,"
            " such as test tools"
        ),
        default=(),
        examples=[["test"]],
    )
    indexes: tuple[Index, ...] = Field(
        description=(
            "Package indexes that are used for the packages that they list and for no others, in "
            "addition to what the machine is configured for"
        ),
        default=(),
        examples=[[{"url": "https://download.pytorch.org/whl/cpu", "packages": ["torch"]}]],
    )

    only_binary: bool = Field(
        description=("Refuse packages that have no wheel; otherwise `lock` adds what builds them"),
        default=False,
        examples=[True],
    )
    lock: Path | Literal[""] = Field(
        description=(
            "A lock that another tool wrote: uv.lock, poetry.lock, pylock.*.toml or requirements "
            "with hashes. It is taken as it is, and locks/NAME.txt has the installer alone"
        ),
        default="",
        examples=["uv.lock"],
    )

    def pages(self, projects: Iterable[str] | None = None) -> tuple[str, ...]:
        """The pages of the packages of all indexes, or of those among some projects."""
        names = None if projects is None else tuple(projects)
        return tuple(page for index in self.indexes for page in index.pages(names))
