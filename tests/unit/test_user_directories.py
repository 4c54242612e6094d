"""The store's directory, as the tool and the doctor find it."""

from __future__ import annotations

import pwd
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layerline.doctor.subject import Subject
from layerline.errors import UsageError
from layerline.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def of_the_tool(environ: Mapping[str, str]) -> Path:
    return Settings.from_environ(environ).store


def of_the_doctor(environ: Mapping[str, str]) -> Path:
    return Subject.of(Path("/"), environ).store


BOTH = pytest.mark.parametrize("find", [of_the_tool, of_the_doctor])


@BOTH
@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({}, ".local/share/layerline"),
        ({"LAYERLINE_STORE": "~/s"}, "s"),
        ({"LAYERLINE_STORE": "~"}, ""),
        ({"LAYERLINE_STORE": ""}, ".local/share/layerline"),
    ],
)
def test_the_store_is_in_the_home_of_the_environment(
    find: Callable[[Mapping[str, str]], Path], environ: dict[str, str], place: str, tmp_path: Path
) -> None:
    assert find({"HOME": str(tmp_path), **environ}) == tmp_path / place


@BOTH
@pytest.mark.parametrize("path", ["~other/store", "~root", "~~"])
def test_the_home_of_another_user_is_refused_in_the_variable(
    find: Callable[[Mapping[str, str]], Path], path: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        find({"HOME": str(tmp_path), "LAYERLINE_STORE": path})
    assert str(caught.value) == (
        f"invalid LAYERLINE_STORE: cannot expand home directory '{path}': use an absolute path"
    )


@BOTH
def test_the_home_of_another_user_is_refused_in_the_settings(
    find: Callable[[Mapping[str, str]], Path], tmp_path: Path
) -> None:
    config = tmp_path / "layerline/config.toml"
    config.parent.mkdir()
    config.write_text('store = "~other/store"\n')
    with pytest.raises(UsageError) as caught:
        find({"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)})
    assert str(caught.value).startswith(f"invalid store in {config}: cannot expand home directory")


@BOTH
def test_without_home_it_is_the_one_that_the_system_knows(
    find: Callable[[Mapping[str, str]], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = pwd.getpwnam("nobody")
    monkeypatch.setattr("os.getuid", lambda: nobody.pw_uid)
    assert find({}) == Path(nobody.pw_dir, ".local/share/layerline")
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000)
    assert find({}) == Path("/.local/share/layerline")
