"""The pages from top to bottom, with real builds: each is a session with its files and commands.

NumPy, SciPy and scikit-learn are small wheels of the same names, newer than those of the index.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.settings import process_environ
from tests.documents.blocks import HOME
from tests.documents.sessions import SESSIONS, Session
from tests.documents.walking import LONGEST_SECONDS, Walk, environment
from tests.images import cache_directory, serve_as
from tests.integration.wheels import write_wheel
from tests.unit.pipeline.test_advisories import RECORD, issue

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.privileged, pytest.mark.network, pytest.mark.slow]

SLOW = [each for each in SESSIONS if each.commands(quick=False)]
LOCK = "layerline call lock --target=cpu export --path=locks/cpu.txt"
# The last one is released while the README's reader works.
RELEASES = (("numpy", "99.0"), ("scikit-learn", "99.0"), ("scipy", "99.0"), ("scipy", "99.1"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all pages, as one user has it."""
    return tmp_path_factory.mktemp("user") / "store"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tool as its users get it."""
    place = tmp_path_factory.mktemp("wheel")
    uv = Path(sys.executable).with_name("uv")
    argv: list[str | Path] = [uv, "build", "--wheel", "--out-dir", place, HOME]
    command.run(argv, env=process_environ(), timeout=LONGEST_SECONDS)
    [found] = place.glob("layerline-*.whl")
    return found


@pytest.fixture
def walk(request: pytest.FixtureRequest, tmp_path: Path, bases: str, store: Path) -> Walk:
    """A session that is ready to go: a home, a repository, and wheels where they are looked for."""
    session: Session = request.param
    environ = environment(
        tmp_path,
        LAYERLINE_STORE=str(store),
        LAYERLINE_REGISTRY_MIRRORS=f"docker.io=http://{bases}",
    )
    if not session.from_index:
        settings = tmp_path / "home/.config/layerline/config.toml"
        settings.parent.mkdir(parents=True)
        settings.write_text(f'[wheels]\nwheelhouses = ["{tmp_path}/released"]\n')
    for name, version in RELEASES[:-1]:
        write_wheel(tmp_path / "released", name, version)
    walk = Walk(session=session, place=tmp_path, environ=environ, texts={"registry": bases})
    walk.prepare()
    return walk


def release_scipy_meanwhile(walk: Walk, _wheel: Path) -> None:
    walk.before["--upgrade=scipy"] = lambda: write_wheel(walk.place / "released", *RELEASES[-1])


def lock_and_commit(walk: Walk, _wheel: Path) -> None:
    walk.succeed(LOCK)
    walk.commit()


def copy_wheel(walk: Walk, wheel: Path) -> None:
    """To the path that the README writes, and to where the tutorial's reader stands."""
    shutil.copy(wheel, walk.place)
    shutil.copy(wheel, walk.repository)


def save_advisories(walk: Walk, _wheel: Path) -> None:
    """One record of each kind, about what no image of the page has."""
    (walk.repository / "osv").mkdir()
    (walk.repository / "osv/record.json").write_text(json.dumps(RECORD))
    known = {"releases": {"bookworm": issue("resolved", "0.1", "low")}, "description": ""}
    document = {"dpkg": {"CVE-2000-0001": known}}
    (walk.repository / "tracker.json").write_text(json.dumps(document))


def copy_wheelhouse(walk: Walk, _wheel: Path) -> None:
    shutil.copytree(walk.place / "released", walk.repository / "wheels")


def make_modules(walk: Walk, _wheel: Path) -> None:
    # The base of the example functions, as Dagger's template has it.
    serve_as(walk.texts["registry"], cache_directory(process_environ()), "alpine:latest")
    for module in ("lib/words", "lint"):
        name = module.rpartition("/")[2]
        walk.succeed(f"layerline init --sdk=python --name={name} {module}")
    shutil.copytree(Path(__file__).parent / "quality", walk.repository / "quality")
    walk.commit()


# What is done before a page is begun, in addition to its files.
PREPARED: dict[str, tuple[Callable[[Walk, Path], None], ...]] = {
    "README.md": (copy_wheel, release_scipy_meanwhile),
    "docs/tutorial.md": (copy_wheel,),
    "docs/how-to/ci.md": (save_advisories,),
    "docs/how-to/indexes.md": (copy_wheelhouse,),
    "docs/how-to/dagger-modules.md": (make_modules,),
}


@pytest.mark.parametrize("walk", SLOW, ids=lambda session: session.page, indirect=True)
def test_a_page_is_followed(walk: Walk, wheel: Path) -> None:
    locking = (lock_and_commit,) if walk.session.locked else ()
    for prepare in (*locking, *PREPARED.get(walk.session.page, ())):
        prepare(walk, wheel)
    assert walk.go(quick=False)
