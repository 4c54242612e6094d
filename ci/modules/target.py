"""What the wheels of an image are for."""

import enum

import dagger


@dagger.enum_type
class Target(enum.Enum):
    """What the wheels of an image are for."""

    CPU = "cpu"
    """Any x86-64 machine."""

    CU13 = "cu13"
    """NVIDIA GPUs with CUDA 13."""

    @property
    def cuda(self) -> str:
        """The major version of CUDA; empty where there is none."""
        return "13" if self is Target.CU13 else ""
