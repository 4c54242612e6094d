"""The programs of this repository that run in containers."""

from pathlib import Path

_PROGRAMS = Path(__file__).parents[1] / "programs"


def program(name: str) -> str:
    """The text of a program in `ci/programs`."""
    return (_PROGRAMS / name).read_text()
