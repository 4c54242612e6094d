"""Small systems with the Python of Debian or Ubuntu, for modules that need one that is missing.

Their programs run in containers alone: the C library of this machine may be older.
Invariant: a system is created atomically and never changed afterwards.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.engine.image.bootstrap import Recipe, bootstrap
from layerline.errors import BootstrapFailed, HostError, ModuleError

if TYPE_CHECKING:
    from layerline.engine.module.interpreters import BootstrappedPython
    from layerline.engine.store.store import Store
    from layerline.log import Journal

_PACKAGES = ("ca-certificates", "python3")


def system_root(
    python: BootstrappedPython, refusal: ModuleError, *, store: Store, journal: Journal
) -> Path:
    """The root of the system with a Python, bootstrapped on first use.

    Raises ModuleError where that fails: the `refusal` of a Python that is not installed, and why.
    """
    place = store.root / "modules" / f"{python.distribution}-{python.suite}"
    if place.is_dir():
        return place
    place.parent.mkdir(mode=0o700, exist_ok=True)
    recipe = Recipe(
        distribution=python.distribution, suite=python.suite, slim=True, packages=_PACKAGES
    )
    name = f"{python.distribution} {python.suite}"
    with (
        store.locks.exclusive(f"module-system-{name}"),
        tempfile.TemporaryDirectory(dir=store.scratch, prefix="system-") as scratch,
    ):
        if place.is_dir():
            return place
        root = Path(scratch, "root")
        root.mkdir()
        with journal.step(f"bootstrap {name} for its Python") as step:
            try:
                bootstrap(recipe, root, scratch=Path(scratch), on_output=step.write)
            except (BootstrapFailed, HostError) as exc:
                message = f"{refusal}; {name} has it, but {exc}"
                raise ModuleError(message) from exc
        root.rename(place)
    return place
