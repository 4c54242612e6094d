"""The groups: named sets of requirements that change together, in the order of installation.

Each has a cache volume of its own, and a program in `ci/checks` that must succeed right after it.
"""

from dataclasses import dataclass
from pathlib import Path

from ci.modules.lock import project
from ci.modules.target import Target

CHECKS = Path(__file__).parents[1] / "checks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A set of requirements. `cuda_extra` is the one whose CUDA libraries are an extra of it.

    `cache` names its cache volume where that is not the group's own name.
    """

    name: str
    requirements: tuple[str, ...]
    cuda_extra: str = ""
    cache: str = ""

    def required(self, target: Target) -> tuple[str, ...]:
        """The requirements for a target: some have their CUDA libraries as an extra."""
        if not target.cuda:
            return self.requirements
        name, extra = self.cuda_extra, f"{self.cuda_extra}[cuda{target.cuda}]"
        return tuple(
            requirement.replace(name, extra, 1) if project(requirement) == name else requirement
            for requirement in self.requirements
        )

    def volume(self, target: Target) -> str:
        """The name of the cache volume."""
        return f"uv-{self.cache or self.name}-{target.value}-v2"

    def check(self) -> str:
        """The program that validates the group inside the image."""
        return (CHECKS / f"{self.name}.py").read_text()


INSTALLER = Group(name="installer", requirements=("uv",), cache="resolve")
GROUPS = (
    Group(
        name="core",
        requirements=("numpy", "scipy", "pandas", "scikit-learn", "pillow", "pydicom", "pyyaml"),
        cache="sync",
    ),
    # torchaudio refuses a torch of another CUDA minor version; its newest is built for CUDA 13.0.
    Group(
        name="pytorch",
        requirements=("torch==2.14.*", "torchvision==0.29.1", "torchaudio==2.11.*"),
    ),
    Group(name="jax", requirements=("jax",), cuda_extra="jax"),
    Group(name="cv", requirements=("opencv-python-headless", "ultralytics")),
)

# ultralytics asks for opencv-python: the same files as the headless one's, for a display.
OVERRIDES = "opencv-python ; sys_platform == 'never'\n"
