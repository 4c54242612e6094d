"""What pip and uv on this machine are configured with is what the pipeline's flags default to.

The order in which pip and uv read their variables and files is theirs:
https://pip.pypa.io/en/stable/topics/configuration/#precedence-override-order
https://docs.astral.sh/uv/concepts/configuration-files/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layerline.cli.chain.wheel_sources import (
    LOGIN_VARIABLE,
    WheelSources,
    sources_for,
    wheel_sources,
    with_login,
)
from layerline.engine.module.definitions import Function, FunctionArg, TypeDef
from layerline.engine.module.types import Member
from layerline.errors import UsageError
from layerline.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def sources(home: Path, **environ: str) -> WheelSources:
    # A file of this machine's own in /etc is not to count.
    own = {"HOME": str(home), "PIP_CONFIG_FILE": "/dev/null", "UV_NO_CONFIG": "1"}
    return wheel_sources(Settings.from_environ({**own, **environ}))


@pytest.mark.parametrize(
    ("environ", "texts"),
    [
        ({"PIP_INDEX_URL": "https://a.example/simple"}, {"index_url": "https://a.example/simple"}),
        (
            {"UV_DEFAULT_INDEX": "https://b.example", "PIP_INDEX_URL": "https://a.example"},
            {"index_url": "https://b.example"},
        ),
        (
            {"PIP_EXTRA_INDEX_URL": "https://a.example https://b.example"},
            {"extra_index_url": "https://a.example https://b.example"},
        ),
        (
            {"UV_INDEX": "mine=https://a.example/x?y=z"},
            {"extra_index_url": "https://a.example/x?y=z"},
        ),
        ({}, {}),
    ],
)
def test_variables_are_used_those_of_uv_first(
    environ: dict[str, str], texts: dict[str, str], tmp_path: Path
) -> None:
    assert sources(tmp_path, **environ).texts == texts


def test_directories_are_wheelhouses_and_other_places_are_said(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    links = f"{tmp_path}/one file://{tmp_path}/two https://a.example/links"
    found = sources(tmp_path, PIP_FIND_LINKS=links)
    assert found.texts == {"wheelhouse": f"{tmp_path}/one,{tmp_path}/two"}
    assert list(found.notes({"wheelhouse"})) == [
        "--wheelhouse is set by PIP_FIND_LINKS",
        "part of PIP_FIND_LINKS is not used for --wheelhouse: "
        "it is not a directory of this machine",
    ]
    assert list(found.notes(set())) == []


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ("~nobody-of-that-name/wheels", "it is in the home of an unknown user"),
        ("/" + "n" * 300, "file name too long"),
    ],
)
def test_a_place_that_cannot_be_looked_at_is_left_out(
    tmp_path: Path, link: str, reason: str
) -> None:
    found = sources(tmp_path, PIP_FIND_LINKS=link)
    assert found.texts == {}
    assert found.left_out == [f"part of PIP_FIND_LINKS is not used for --wheelhouse: {reason}"]


def test_files_of_pip_and_uv_are_read(tmp_path: Path) -> None:
    pip = tmp_path / ".config/pip/pip.conf"
    pip.parent.mkdir(parents=True)
    pip.write_text(
        "[global]\nindex-url = https://pip.example\nextra-index-url =\n  https://x.example\n"
        "  file:///srv/index\n[install]\nindex-url = https://install.example\n"
    )
    found = wheel_sources(Settings.from_environ({"HOME": str(tmp_path), "UV_NO_CONFIG": "1"}))
    assert found.texts["index_url"] == "https://install.example"
    assert found.texts["extra_index_url"] == "https://x.example"
    assert found.origins["index_url"] == str(pip)
    uv = tmp_path / ".config/uv/uv.toml"
    uv.parent.mkdir()
    uv.write_text(
        '[[index]]\nurl = "https://uv.example"\ndefault = true\n'
        '[[index]]\nurl = "https://torch.example"\nexplicit = true\n'
    )
    found = wheel_sources(Settings.from_environ({"HOME": str(tmp_path)}))
    assert found.texts["index_url"] == "https://uv.example"
    assert found.texts["extra_index_url"] == "https://x.example"


def test_settings_of_layerline_come_first(tmp_path: Path) -> None:
    config = tmp_path / ".config/layerline/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[wheels]\nindex = "https://own.example/simple"\n')
    found = sources(tmp_path, UV_DEFAULT_INDEX="https://uv.example")
    assert found.texts == {"index_url": "https://own.example/simple"}
    config.write_text('[wheels]\nindexes = "https://own.example/simple"\n')
    with pytest.raises(UsageError, match="unknown key 'indexes' in "):
        sources(tmp_path)


def test_credentials_in_urls_become_a_secret_and_no_line_shows_them(tmp_path: Path) -> None:
    found = sources(tmp_path, PIP_EXTRA_INDEX_URL="https://me:p%40ss@a.example:8443/simple")
    assert found.texts == {
        "extra_index_url": "https://a.example:8443/simple",
        "index_credentials": "env:LAYERLINE_INDEX_LOGIN",
    }
    assert found.login == "machine a.example login me password p@ss"
    said = "\n".join(found.notes({"extra_index_url", "index_credentials"}))
    assert said == "--extra-index-url is set by PIP_EXTRA_INDEX_URL"


def constructor(*names: str) -> Member:
    text = TypeDef(kind="STRING_KIND", optional=True)
    args = tuple(FunctionArg(name=name, type_def=text) for name in names)
    made = TypeDef(kind="OBJECT_KIND", name="Project")
    return Member(function=Function(name="", return_type=made, args=args), api_name="", owner="x")


def test_a_module_that_takes_them_is_given_them_and_what_is_used_is_said_once(
    tmp_path: Path,
) -> None:
    environ = {
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": "/dev/null",
        "UV_NO_CONFIG": "1",
        "PIP_INDEX_URL": "https://me:geheim@a.example/simple",
    }
    settings = Settings.from_environ(environ)
    pipeline = constructor("indexUrl", "extraIndexUrl", "wheelhouse", "indexCredentials")
    assert sources_for(constructor("indexUrl"), settings).texts == {}
    found = sources_for(pipeline, settings)
    assert found.texts["index_url"] == "https://a.example/simple"
    assert list(found.new_notes({"index_url"})) == ["--index-url is set by PIP_INDEX_URL"]
    assert list(found.new_notes({"index_url"})) == []
    assert "geheim" in with_login(settings, found).environ[LOGIN_VARIABLE]
