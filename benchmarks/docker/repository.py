"""The repository whose image is built: a copy of this checkout's last commit, with two locks.

Nothing but the lock and one source file is ever changed in it, so all sides are asked for the same
thing.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from layerline import command
from layerline.pipeline import lock
from layerline.pipeline.definition import parse_definition
from layerline.pipeline.partition import partition
from layerline.pipeline.requirement import normalize_name
from layerline.settings import process_environ

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.pipeline.definition import Definition, Image
    from layerline.pipeline.layer import Layer

CHECKOUT = Path(__file__).parents[2]
DEFINITION = "layerline.toml"
# Of every image: a file that it has, and nothing but the image reads.
_SOURCE_FILE = "src/ct_scan_mlops/settings.py"
_COMPILE = ("pip", "compile", "--quiet", "--no-deps", "--generate-hashes", "--no-header")
_PYTHON_VERSION = "3.11"
_IMAGE = """
[images.{image}]
target = "cpu"
groups = {groups}
source = ["src/ct_scan_mlops/**"]
command = ["python"]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A copy of the checkout; `locked` is the lock as committed, `changed` the other one."""

    place: Path
    image: str
    locked: str
    changed: str

    @classmethod
    def copied(
        cls, place: Path, *, image: str, package: str = "", groups: Sequence[str] = ()
    ) -> Repository:
        """A copy; in the other lock a package has the release before the locked one, if any.

        With `groups` the image is one of these, for the target cpu.
        """
        words: list[str | Path] = ["git", "-c", f"safe.directory={CHECKOUT}/.git", "clone"]
        command.run([*words, "--quiet", CHECKOUT, place])
        if groups:
            with (place / DEFINITION).open("a") as file:
                file.write(_IMAGE.format(image=image, groups=json.dumps(list(groups))))
        target = parse_definition((place / DEFINITION).read_text()).image(image).target
        locked = (place / lock.path(target)).read_text()
        changed = _downgraded(locked, package) if package else locked
        return cls(place=place, image=image, locked=locked, changed=changed)

    def copy(self, place: Path) -> Repository:
        """Another copy, to be changed without this one."""
        shutil.copytree(self.place, place, symlinks=True)
        return replace(self, place=place)

    @property
    def commit(self) -> str:
        """The commit that is built."""
        argv: list[str | Path] = ["git", "-C", self.place, "rev-parse", "HEAD"]
        return command.run(argv).stdout.decode().strip()

    @property
    def definition(self) -> Definition:
        """What is declared."""
        return parse_definition((self.place / DEFINITION).read_text())

    @property
    def spec(self) -> Image:
        """What the image is declared to be."""
        return self.definition.image(self.image)

    def lock(self, target: str) -> str:
        """The lock of a target as it is now."""
        return (self.place / lock.path(target)).read_text()

    def layers(self) -> tuple[Layer, ...]:
        """The layers that the lock is cut into now."""
        target = self.spec.target
        return partition(self.lock(target), self.definition, target).of(self.spec.groups)

    def change(self) -> None:
        """Put the other lock in place."""
        (self.place / lock.path(self.spec.target)).write_text(self.changed)

    def restore(self) -> None:
        """Put the committed lock in place."""
        (self.place / lock.path(self.spec.target)).write_text(self.locked)

    def edit(self) -> None:
        """Change a source file, each time to something new."""
        with (self.place / _SOURCE_FILE).open("a") as file:
            file.write(f"# {time.time_ns()}\n")


def _downgraded(locked: str, package: str) -> str:
    """A lock in which a package, and those that are released with it, are one release older."""
    pins = lock.parse(locked)
    version = pins[normalize_name(package)].version
    names = [
        name
        for name, pin in pins.items()
        if name.startswith(normalize_name(package)) and pin.version == version
    ]
    asked = "".join(f"{name}<{version}\n" for name in names)
    uv = Path(sys.executable).with_name("uv")
    argv: list[str | Path] = [uv, *_COMPILE, f"--python-version={_PYTHON_VERSION}", "-"]
    older = lock.parse(
        command.run(argv, env=process_environ(), stdin=asked.encode()).stdout.decode()
    )
    blocks = re.split(r"^(?=[^\s#])", locked, flags=re.MULTILINE)
    return "".join(_replaced(block, older) for block in blocks)


def _replaced(block: str, older: dict[str, lock.Pin]) -> str:
    """The lines of a pin, with another version and its hashes if there is one."""
    found = next((pin for pin in older.values() if block.startswith(f"{pin.name}==")), None)
    if found is None:
        return block
    comments = [line for line in block.splitlines() if line.lstrip().startswith("#")]
    return "".join(f"{line}\n" for line in (*found.lines, *comments))
