"""The programs that run in containers, as far as they need none."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ci.programs.install import EPOCH, normalise
from ci.programs.resolve import Resolver, Wanted
from layerline import command

PROGRAMS = Path(__file__).parents[3] / "ci" / "programs"


def installation(prefix: Path, *, note: str) -> Path:
    info = prefix / "lib" / "one-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "uv_cache.json").write_text(note)
    (info / "RECORD").write_text(
        f"one.py,,3\none-1.0.dist-info/uv_cache.json,sha256={note},9\none-1.0.dist-info/RECORD,,\n"
    )
    (prefix / "lib" / "__pycache__").mkdir()
    (prefix / "lib" / "one.py").write_text("1\n")
    (prefix / "link").symlink_to("lib")
    return info


def test_what_depends_on_the_moment_is_taken_away(tmp_path: Path) -> None:
    records = []
    for note in ("now", "later"):
        info = installation(tmp_path / note, note=note)
        normalise(tmp_path / note)
        records.append((info / "RECORD").read_text())
        assert not (info / "uv_cache.json").exists()
        assert not (tmp_path / note / "lib" / "__pycache__").exists()
    assert records == ["one-1.0.dist-info/RECORD,,\none.py,,3\n"] * 2


def test_everything_gets_one_time_and_links_their_own(tmp_path: Path) -> None:
    installation(tmp_path / "prefix", note="x")
    normalise(tmp_path / "prefix")
    found = [tmp_path / "prefix", *(tmp_path / "prefix").rglob("*")]
    assert {os.lstat(path).st_mtime for path in found} == {EPOCH}


def test_the_installer_says_seconds_and_nothing_else(tmp_path: Path) -> None:
    argv = [sys.executable, str(PROGRAMS / "install.py"), str(tmp_path), "sh", "-c", "echo said"]
    done = command.run(argv)
    assert done.stdout.startswith(b'{"seconds": ')
    assert done.stderr == b"said\n"


class Excluding(Resolver):
    """Resolves what does not hold both of two requirements."""

    def __init__(self, *clash: str) -> None:
        self.clash = set(clash)
        self.tried = 0

    def resolves(self, wanted: list[Wanted]) -> str:
        self.tried += 1
        return "" if self.clash <= {each.text for each in wanted} else "some"


def test_the_fewest_that_clash_are_found_in_few_tries() -> None:
    wanted = [Wanted("g", f"p{number}==1") for number in range(40)]
    for clash in (("p3==1", "p31==1"), ("p0==1", "p1==1", "p39==1"), ("p17==1",)):
        resolver = Excluding(*clash)
        assert {each.text for each in resolver.core([], wanted, grown=False)} == set(clash)
        assert resolver.tried < 30


def test_a_requirement_without_its_version_keeps_its_extras() -> None:
    assert Wanted("jax", "jax[cuda13]==0.10.*").bare == "jax[cuda13]"
    assert Wanted("core", "numpy").bare == "numpy"
