"""The programs that run in containers, as far as they need none."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from layerline import command
from layerline.errors import CommandFailed
from layerline.pipeline import image_config
from layerline.pipeline.programs import install, resolve_or_explain_conflict
from layerline.pipeline.programs.install import EPOCH, modules, normalise
from layerline.pipeline.programs.resolve_or_explain_conflict import (
    Requirement,
    Resolver,
    explanation,
    prune_cache,
    suspects,
    unknown_extras,
)
from tests.integration.wheels import write_wheel

PROGRAMS = Path(__file__).parents[3] / "src" / "layerline" / "pipeline" / "programs"


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


def test_each_wheel_has_the_fewest_paths_with_its_modules_alone(tmp_path: Path) -> None:
    site = tmp_path / "lib/python3.11/site-packages"
    files = {
        "numpy": ["numpy/__init__.py", "numpy/core/a.py", "numpy/core/a.so"],
        "google_api": ["google/api/one.py", "google/version.py"],
        "google_auth": ["google/auth/two.py"],
        "six": ["six.py"],
        "data": ["data/table.txt"],
    }
    for name, paths in files.items():
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "RECORD").write_text("".join(f"{each},,\n" for each in paths))
        for path in paths:
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_text("abc")
    (site / "google/unclaimed.py").write_text("")
    (tmp_path / "lib64").symlink_to("lib")  # as venv makes it
    place = "lib/python3.11/site-packages"
    assert modules(tmp_path) == {
        "": {f"{place}/google/unclaimed.py": (1, 0)},
        "google_api": {f"{place}/google/api": (1, 3), f"{place}/google/version.py": (1, 3)},
        "google_auth": {f"{place}/google/auth": (1, 3)},
        "numpy": {f"{place}/numpy": (2, 6)},
        "six": {f"{place}/six.py": (1, 3)},
    }


def test_a_directory_of_too_many_modules_is_told_by_what_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "MOST_FILES", 3)
    site = tmp_path / "lib/python3.11/site-packages"
    for path in ("plotly/a/1.py", "plotly/a/2.py", "plotly/b/1.py", "plotly/b/2.py", "plotly/c.py"):
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text("abc")
    place = "lib/python3.11/site-packages/plotly"
    found = {f"{place}/a": (2, 6), f"{place}/b": (2, 6), f"{place}/c.py": (1, 3)}
    assert modules(tmp_path) == {"": found}


def test_programs_use_the_timestamp_of_the_pipeline() -> None:
    # They run in images, where they can import nothing of the pipeline.
    assert image_config.EPOCH == EPOCH
    assert f"SOURCE_DATE_EPOCH={image_config.EPOCH} " in (PROGRAMS / "system.sh").read_text()


def test_the_installer_says_seconds_and_nothing_else(tmp_path: Path) -> None:
    argv = [sys.executable, str(PROGRAMS / "install.py"), str(tmp_path), "sh", "-c", "echo said"]
    done = command.run(argv)
    assert done.stdout.startswith(b'{"seconds": ')
    assert done.stderr == b"said\n"


def test_layers_that_are_installed_together_share_the_connections(tmp_path: Path) -> None:
    # uv's default is 50 (its reference of settings); some fifty in all were let through here.
    argv = ["sh", "-c", "echo $UV_CONCURRENT_DOWNLOADS"]
    program = [sys.executable, str(PROGRAMS / "install.py"), str(tmp_path), *argv]
    assert command.run(program, env={}).stderr == b"4\n"
    assert command.run(program, env={"UV_CONCURRENT_DOWNLOADS": "3"}).stderr == b"3\n"


def test_what_an_installer_downloads_is_counted_and_shown(tmp_path: Path) -> None:
    said = "Downloading one (1.5MiB)\nDownloading two (512.0KiB)\n Downloaded one\n"
    argv = ["sh", "-c", f"test -z \"$1\" && printf '{said}' >&2", "sh"]
    done = command.run([sys.executable, str(PROGRAMS / "install.py"), str(tmp_path), *argv])
    assert json.loads(done.stdout)["downloaded"] == {"one": 1_572_864, "two": 524_288}
    assert done.stderr.decode() == said


def test_an_installer_asks_no_index_where_all_wheels_are_cached(tmp_path: Path) -> None:
    # An index that let each request wait took 40 s for a wheel of 1 MB that was cached.
    log = tmp_path / "asked"
    script = f'echo "${{1:-index}}" >>{log}; cat >>{log}; ! grep -q never {log} || test -z "$1"'
    argv = [sys.executable, str(PROGRAMS / "install.py"), str(tmp_path), "sh", "-c", script, "sh"]
    command.run(argv, stdin=b"known==1\n")
    assert log.read_text() == "--offline\nknown==1\n"
    log.unlink()
    command.run(argv, stdin=b"never==1\n")
    assert log.read_text() == "--offline\nnever==1\nindex\nnever==1\n"


def test_an_installer_without_a_network_gets_a_flag_and_its_failure_is_explained(
    tmp_path: Path,
) -> None:
    program = str(PROGRAMS / "install.py")
    argv = [sys.executable, program, str(tmp_path), "sh", "-c", 'test "$1"', "sh"]
    command.run(argv, env={"OFFLINE": "yes"})
    argv[-2] = 'exit "${#1}"'
    command.run(argv, env={"OFFLINE": ""})
    argv[-2] = "exit 7"
    with pytest.raises(CommandFailed, match="status 7"):
        command.run(argv, env={"OFFLINE": ""})
    with pytest.raises(CommandFailed, match="not all wheels are cached: run the same command once"):
        command.run(argv, env={"OFFLINE": "yes"})


class Excluding(Resolver):
    """Resolves what does not hold both of two requirements."""

    def __init__(self, *clash: str) -> None:
        self.clash = set(clash)
        self.count = 0

    def resolves(self, wanted: list[Requirement]) -> bool:
        self.count += 1
        return not self.clash <= {each.text for each in wanted}


def test_the_fewest_that_clash_are_found_in_few_tries() -> None:
    wanted = [Requirement("g", f"p{number}==1") for number in range(40)]
    for clash in (("p3==1", "p31==1"), ("p0==1", "p1==1", "p39==1"), ("p17==1",)):
        resolver = Excluding(*clash)
        assert {each.text for each in resolver.core([], wanted, grown=False)} == set(clash)
        assert resolver.count < 30


def test_a_requirement_without_its_version_keeps_its_extras() -> None:
    assert Requirement("jax", "jax[cuda13]==0.10.*").bare == "jax[cuda13]"
    assert Requirement("core", "numpy").bare == "numpy"


DERIVATION = """\
error: No solution found when resolving dependencies
  cause: Because jax-cuda12-plugin[with-cuda]==0.7.0 depends on nvidia-cudnn-cu12>=9.8 and
         torch==2.6.0 depends on nvidia-cudnn-cu12==9.1.0.70, and you require
         JAX[cuda12]==0.7.* and torch==2.6.0, your requirements are unsatisfiable.
"""
REQUIREMENTS = [
    Requirement("core", "numpy"),
    Requirement("jax", "jax[cuda12]==0.7.*"),
    Requirement("pytorch", "torch==2.6.0"),
    Requirement("pytorch", "torchvision"),
]


def test_the_derivation_names_those_that_are_suspected() -> None:
    assert [each.project for each in suspects(REQUIREMENTS, DERIVATION)] == ["jax", "torch"]
    assert suspects(REQUIREMENTS, "error: of another kind") == REQUIREMENTS


def resolver(tmp_path: Path, program: str) -> Resolver:
    """One that runs a program of the test's own."""
    path = tmp_path / "uv.py"
    path.write_text(program)
    request: dict[str, Any] = {
        "target": "cpu",
        "without": [],
        "lock": str(tmp_path / "lock.txt"),
        "upgrade": [],
        "sources": {},
        "urls": {},
        "known": {},
        "uv": [sys.executable, str(path)],
    }
    return Resolver(request)


def test_a_resolver_that_takes_too_long_does_not_delay_the_explanation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve_or_explain_conflict, "LONGEST_SECONDS", 0.5)
    monkeypatch.setattr(resolve_or_explain_conflict, "LEAST_SEARCH_SECONDS", 0.5)
    slow = resolver(tmp_path, "import time; time.sleep(60)")
    begin = time.monotonic()
    said = "\n".join(explanation(slow, REQUIREMENTS, DERIVATION))
    assert time.monotonic() - begin < 10
    assert "  jax: jax[cuda12]==0.7.*\n  pytorch: torch==2.6.0\nbecause\n" in said
    assert said.endswith("none found within the time limit")


def test_what_the_cache_knows_is_not_asked_of_an_index(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys\n"
        "with pathlib.Path(__file__).with_name('asked').open('a') as log:\n"
        "    log.write('cache ' if '--offline' in sys.argv else 'index ')\n"
        "if 'never' in sys.stdin.read():\n"
        "    sys.exit('Packages were unavailable because the network was disabled')\n"
    )
    trying = resolver(tmp_path, program)
    assert trying.resolves([Requirement("core", "known")])
    assert not trying.resolves([Requirement("core", "never-seen")])
    assert (tmp_path / "asked").read_text() == "cache cache index "


def test_an_extra_that_a_project_lacks_is_an_error_with_those_that_it_has(tmp_path: Path) -> None:
    # As uv 0.13.9 warns: it locks such a requirement without the extra.
    said = "warning: The package `jax==0.10.2` does not have an extra named `cuda-13`\n"
    pip = tmp_path / "pip"
    pip.write_text(
        "#!/bin/sh\n"
        """echo '{"install": [{"metadata": {"provides_extra": ["cuda12", "cuda13"]}}]}'\n"""
    )
    pip.chmod(0o755)
    wanted = [Requirement("gpu", "jax[cuda_13]==0.10.*"), Requirement("core", "numpy")]
    assert list(unknown_extras(wanted, said, [str(tmp_path / "uv")])) == [
        "group gpu requires jax[cuda_13]==0.10.*, but jax has no extra 'cuda-13': "
        "did you mean jax[cuda13]?"
    ]
    # What other packages ask for is theirs.
    assert not list(unknown_extras([Requirement("core", "flax")], said, [str(tmp_path / "uv")]))


def test_a_wheel_whose_links_changed_takes_no_more_of_the_cache(tmp_path: Path) -> None:
    # uv keys wheels of a directory by their ctime (crates/uv-cache-info), which links change.
    wheel = write_wheel(tmp_path / "wheels", "layerline-test-one", "1.0")
    uv = str(Path(sys.executable).with_name("uv"))
    cache = f"--cache-dir={tmp_path / 'cache'}"
    argv = [
        uv,
        "pip",
        "compile",
        "--quiet",
        "--no-config",
        "--no-index",
        "--generate-hashes",
        cache,
    ]
    for number in range(3):
        (tmp_path / f"link-{number}").hardlink_to(wheel)
        find = [f"--find-links={tmp_path / 'wheels'}", "-"]
        command.run([*argv, *find], stdin=b"layerline-test-one\n")
        prune_cache([uv, "pip", "compile", cache])
        assert len(list((tmp_path / "cache" / "archive-v0").iterdir())) == 1


def test_the_reason_is_without_hints_about_flags_that_nobody_gave() -> None:
    # As uv 0.13.9 says it of numpy>=2.5 on Python 3.11.
    said = (
        "error: No solution found when resolving dependencies\n"
        "  cause: Because the current Python version (3.11.2) does not satisfy Python>=3.12 and "
        "numpy>=2.5.0 depends on Python>=3.12, numpy>=2.5.0 cannot be used.\n\n"
        "hint: Consider using a higher `--python-version` value.\n"
    )
    assert resolve_or_explain_conflict.reason(said) == (
        "Because the current Python version (3.11.2) does not satisfy Python>=3.12 and "
        "numpy>=2.5.0 depends on Python>=3.12, numpy>=2.5.0 cannot be used."
    )
