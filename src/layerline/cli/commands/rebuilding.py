"""Building a published image again, from what its provenance names."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from layerline import command
from layerline.engine import Comparison, compare_address, digest_bytes
from layerline.errors import CommandFailed, NotVerified, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from layerline.cli.console import Console
    from layerline.engine import Verification

DEFINITION = "layerline.toml"
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SCHEMES = ("http", "https", "ssh")
_NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "__pycache__", "*.tar")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a provenance says that an image was built from. `digests` are by name."""

    image: str
    target: str
    compression: str
    base: str
    commit: str
    repository: str
    digests: dict[str, str]
    lock: tuple[str, bytes] | None

    @classmethod
    def of(cls, found: Verification) -> Recipe:
        """Read it from a verified provenance. Raises NotVerified where it says too little."""
        assert found.provenance is not None
        statement = found.provenance.statement
        parameters: Any = (statement.predicate.get("buildDefinition") or {}).get(
            "externalParameters"
        )
        try:
            source = parameters["source"]
            locks = [(name, data) for name, data in found.documents.items() if _is_lock(name)]
            return cls(
                image=str(parameters["image"]),
                target=str(parameters["target"]),
                compression=str(parameters["compression"]),
                base=_base_of(found.facts()["base"], locks),
                commit=str(source.get("commit", "")),
                repository=str(source.get("repository", "")),
                digests=statement.digests("buildDefinition.resolvedDependencies"),
                lock=locks[0] if locks else None,
            )
        except (KeyError, TypeError, AttributeError) as exc:
            message = f"rebuild: the provenance does not say how the image was built: {exc!r}"
            raise NotVerified(message) from exc


def _base_of(named: str, locks: Sequence[tuple[str, bytes]]) -> str:
    """The base by its digest where the lock pins it, else as the project names it."""
    is_pinned = any(b"\n# base: " in b"\n" + data for _, data in locks)
    return named if is_pinned else named.partition("@")[0]


def _is_lock(title: str) -> bool:
    return title.startswith("locks/") and title.endswith(".txt") and ".." not in title


def rebuild(
    console: Console,
    address: str,
    found: Verification,
    *,
    source: Path | None,
    store: Path | None,
    arguments: Sequence[str],
) -> Comparison:
    """Build the image of a verified provenance again, and compare.

    `source` is a checkout; without one it is taken from git at the commit. `arguments` are those of
    `call`, e.g. where wheels come from.
    """
    recipe = Recipe.of(found)
    with workplace(console, recipe, source) as (place, scratch):
        _check(recipe, place)
        run = _Runner(console=console, place=place, store=store)
        rebuilt, base = scratch / "rebuilt.tar", scratch / "base.tar"
        console.info(f"building {recipe.image} again in {store or console.settings.store}")
        build = ["build", f"--image={recipe.image}", "export", f"--path={rebuilt}"]
        run("call", *arguments, *build, f"--forced-compression={recipe.compression.upper()}")
        run(
            "--no-mod",
            "call",
            "container",
            "from",
            f"--address={recipe.base}",
            "export",
            f"--path={base}",
        )
        return compare_address(console.settings, address, found.subject.digest, rebuilt, base)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Runner:
    """Runs this program in the source's directory; its progress goes to standard error."""

    console: Console
    place: Path
    store: Path | None

    def __call__(self, *arguments: str) -> None:
        environ = dict(self.console.settings.environ)
        if self.store is not None:
            environ["LAYERLINE_STORE"] = str(self.console.workdir / self.store)
        argv = [sys.executable, "-m", "layerline", *arguments]
        process = command.start(argv, env=environ, cwd=self.place, stdout=command.DEVNULL)
        if status := process.wait():
            message = f"the image could not be built again: layerline ended with status {status}"
            raise CommandFailed(("layerline",), status, message)


@contextmanager
def workplace(console: Console, recipe: Recipe, source: Path | None) -> Iterator[tuple[Path, Path]]:
    """The source with the attached lock in it, and a directory for archives."""
    with tempfile.TemporaryDirectory(prefix="layerline-verify-") as scratch:
        place = Path(scratch) / "source"
        if source is not None:
            place = _with_lock(console.workdir / source, place, recipe)
        else:
            _check_out(console, recipe, place)
            place = _with_lock(place, Path(scratch) / "locked", recipe)
        yield place, Path(scratch)


def _with_lock(source: Path, copy: Path, recipe: Recipe) -> Path:
    """The source if it has the lock of the provenance, else a copy that gets the attached one."""
    if recipe.lock is None:
        return source
    name, data = recipe.lock
    if (source / name).is_file() and (source / name).read_bytes() == data:
        return source
    if _has_foreign_lock(source, recipe.target):
        return source  # the attached lock is of two files
    shutil.copytree(source, copy, symlinks=True, ignore=_NOT_COPIED)
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_bytes(data)
    return copy


def _has_foreign_lock(source: Path, target: str) -> bool:
    try:
        document = tomllib.loads((source / DEFINITION).read_text())
    except (OSError, ValueError):
        return False
    return bool(document.get("targets", {}).get(target, {}).get("lock"))


def _check_out(console: Console, recipe: Recipe, place: Path) -> None:
    """Clone the commit: from the repository around the working directory, or from its own."""
    if not recipe.commit:
        message = "the provenance names no commit: give the source with --source=DIR"
        raise UsageError(message)
    if _COMMIT.fullmatch(recipe.commit) is None:
        message = f"the provenance names an invalid commit {recipe.commit!r}"
        raise NotVerified(message)
    environ, here = console.settings.environ, console.workdir
    known = ("git", "-C", here, "cat-file", "-e", f"{recipe.commit}^{{commit}}")
    if command.run(known, env=environ, expect=None).status == 0:
        top = command.run(("git", "-C", here, "rev-parse", "--show-toplevel"), env=environ)
        origin = top.stdout.decode().rstrip("\n")
    elif urlsplit(recipe.repository).scheme in _SCHEMES:
        origin = recipe.repository
    else:
        message = (
            f"commit {recipe.commit} is not in this repository, and the provenance names no "
            "other one: give the source with --source=DIR"
        )
        raise UsageError(message)
    clone = ("git", "clone", "--quiet", "--no-checkout", "--", origin, place)
    command.run(clone, env=environ)
    command.run(("git", "-C", place, "checkout", "--quiet", recipe.commit), env=environ)


def _check(recipe: Recipe, place: Path) -> None:
    """Raise NotVerified for a source that is not the one of the provenance."""
    wanted = recipe.digests.get(DEFINITION)
    path = place / DEFINITION
    found = digest_bytes(path.read_bytes()) if path.is_file() else "missing"
    if wanted is not None and found != wanted:
        message = (
            f"rebuild: {DEFINITION} of the source is {found}, the provenance has {wanted}: "
            "use the source at the commit of the provenance"
        )
        raise NotVerified(message)
