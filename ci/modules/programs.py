"""The programs of this repository that run in containers."""

from functools import partial
from pathlib import Path

from layerline.pipeline import environment

program = partial(environment.program, directory=Path(__file__).parents[1] / "programs")
