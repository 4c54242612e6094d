"""What `publish` is given of this machine, and which other functions are not."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from layerline.cli.chain.publishing import LOGIN_VARIABLE, publishing_defaults
from layerline.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

ADDRESS = "--address=registry.example.com/team/app:1"


def settings_with(home: Path, **environ: str) -> Settings:
    """The settings of a user who has logged in to a registry."""
    auth = base64.b64encode(b"me:geheim").decode()
    (home / ".docker").mkdir(exist_ok=True)
    config = {"auths": {"registry.example.com": {"auth": auth}}}
    (home / ".docker" / "config.json").write_text(json.dumps(config))
    return Settings.from_environ({"HOME": str(home), **environ})


def test_publish_gets_the_login_of_its_registry_and_the_key_of_the_settings(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, LAYERLINE_SIGN_WITH="/keys/team.key")
    texts, variables = publishing_defaults(settings, ["publish", "--image=api", ADDRESS])
    assert texts == {
        "publish_sign_key": "file:/keys/team.key",
        "publish_registry_login": f"env:{LOGIN_VARIABLE}",
    }
    assert variables == {LOGIN_VARIABLE: "me:geheim"}
    apart = ["publish", "--image", "api", *ADDRESS.split("=")]
    assert publishing_defaults(settings, apart) == (texts, variables)


def test_no_other_function_and_no_other_registry_gets_the_login(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, LAYERLINE_SIGN_WITH="/keys/team.key")
    assert publishing_defaults(settings, ["build", "--image=api", ADDRESS]) == ({}, {})
    other = ["publish", "--address=registry.example.org/app"]
    assert publishing_defaults(settings, other) == ({"publish_sign_key": "file:/keys/team.key"}, {})
    assert publishing_defaults(settings, ["publish", "--address"]) == ({}, {})
    assert publishing_defaults(settings_with(tmp_path), ["publish", "--address=::"]) == ({}, {})
