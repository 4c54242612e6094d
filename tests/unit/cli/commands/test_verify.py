"""The command `verify`: its exit codes, messages, and where keys come from."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from layerline.cli.main import run_command_line
from tests.published import Image, Repository, build_of, new_key, request_of
from tests.registry import serving
from tests.sigstore_services import IDENTITY, ISSUER, TOKEN, serving_sigstore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOT_VERIFIED = 8


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, Path]]:
    """The address of a published image, the key that verifies it, and another one."""
    place = tmp_path_factory.mktemp("registry")
    private, public = new_key(place, "own")
    _, other = new_key(place, "other")
    with serving(place) as address:
        repository = Repository(registry=address, place=place)
        repository.attach(repository.push(Image()), key=private)
        yield repository.address(), public, other


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without settings."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LAYERLINE_STORE", str(tmp_path / "store"))
    for name in ("XDG_CONFIG_HOME", "LAYERLINE_TRUST"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_a_verified_image_is_described(
    published: tuple[str, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    address, public, _ = published
    assert run_command_line(["verify", address, f"--key={public}"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{address}: verified\n  digest: sha256:")
    assert "  signed by: own.pub\n" in said
    assert "  built on: 2026-11-30 10:01 UTC\n" in said


def test_what_does_not_hold_has_an_exit_code_of_its_own(
    published: tuple[str, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    address, _, other = published
    assert run_command_line(["verify", address, f"--key={other}"]) == NOT_VERIFIED
    said = capsys.readouterr().err
    assert f"Error: {address} is not verified:\n  provenance: there is none" in said
    assert "Traceback" not in said


def test_keys_are_those_of_the_settings_if_none_is_named(
    published: tuple[str, Path, Path], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address, public, _ = published
    assert run_command_line(["verify", address]) == 1
    assert "no key to verify with: give --key=PUBLIC.pem" in capsys.readouterr().err
    (home / ".config" / "layerline").mkdir(parents=True)
    (home / ".config" / "layerline" / "config.toml").write_text(
        f'[signing]\ntrust = [{{ key = "{public}", revoked_from = 2026-11-01 }}]\n'
    )
    assert run_command_line(["verify", address]) == NOT_VERIFIED
    assert "is signed by own.pub, which was revoked before" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("keys = [", "cannot read the policy"),
        ("key = []", "unknown key 'key' in"),
        ("builders = 'x'", "invalid builders in"),
        ("max_age_days = 'x'", "invalid max_age_days 'x' in"),
        ("min_version = 'x'", "invalid min_version 'x' in"),
        ('keys = ["missing.pub"]', "cannot read the key"),
        ('identities = ["x"]', "invalid identities in"),
        ("identities = [{ identity = 'x', issuer = '' }]", "invalid identities in"),
        ("identities = [{ identity = 'x', issuer = 'y' }]", "needs both identities and trusted"),
        ("trusted_root = 'root.json'", "needs both identities and trusted_root"),
    ],
)
def test_a_policy_that_cannot_be_read_is_not_an_image_that_does_not_hold(
    published: tuple[str, Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    policy: str,
    said: str,
) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(policy)
    address, public, _ = published
    argv = ["verify", address, f"--key={public}", f"--policy={path}"]
    assert run_command_line(argv) == 1
    assert said in capsys.readouterr().err


def test_flags_of_rebuild_alone_are_refused(
    published: tuple[str, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    address, public, _ = published
    assert run_command_line(["verify", address, f"--key={public}", "--source=."]) == 1
    assert "are those of --rebuild" in capsys.readouterr().err


def test_without_a_source_or_a_commit_nothing_is_rebuilt(
    published: tuple[str, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    address, public, _ = published
    assert run_command_line(["verify", address, f"--key={public}", "--rebuild"]) == 1
    assert "the provenance names no commit: give the source with" in capsys.readouterr().err


def test_another_definition_is_refused_before_anything_is_built(
    published: tuple[str, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address, public, _ = published
    (tmp_path / "layerline.toml").write_text("[targets.cpu]\n")
    argv = ["verify", address, f"--key={public}", "--rebuild", f"--source={tmp_path}"]
    assert run_command_line(argv) == NOT_VERIFIED
    assert "rebuild: layerline.toml of the source is sha256:" in capsys.readouterr().err


def test_what_was_verified_is_attested_by_the_key_of_the_flag(
    published: tuple[str, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    address, public, _ = published
    argv = ["verify", address, f"--key={public}", "--attest"]
    assert run_command_line(argv) == 1
    assert "no key to sign with: give --sign-key=FILE.pem" in capsys.readouterr().err
    assert run_command_line([*argv, f"--sign-key={public.with_suffix('.pem')}"]) == 0
    assert "  attached: sha256:" in capsys.readouterr().out
    assert run_command_line(["verify", address, f"--key={public}"]) == 0


def test_an_identity_is_trusted_by_flags(
    published: tuple[str, Path, Path], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = published[0].partition("/")[0]
    repository = Repository(registry=registry, place=home, name="team/keyless")
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    with serving_sigstore() as services:
        request = request_of(build_of(finished=now))
        urls = (services.url, services.url)
        digest = repository.push(Image())
        repository.attach(digest, token=TOKEN, services=urls, request=request)
        root = home / "trusted_root.json"
        root.write_text(json.dumps(services.trusted_root()))
    argv = ["verify", repository.address(), f"--identity={IDENTITY}", f"--trusted-root={root}"]
    assert run_command_line([*argv, f"--issuer={ISSUER}"]) == 0
    assert f"  signed by: {IDENTITY} ({ISSUER})\n" in capsys.readouterr().out
    assert run_command_line([*argv, "--issuer=https://evil.example.com"]) == NOT_VERIFIED
    said = capsys.readouterr().err
    assert "the provenance is not signed by a trusted identity: " in said
    assert run_command_line(argv) == 1
    assert "--identity, --issuer and --trusted-root are given together" in capsys.readouterr().err
    # A key does not help, and the reason names what would.
    assert run_command_line(["verify", repository.address(), f"--key={published[1]}"]) == 8
    assert "is signed by an identity, and none is trusted: give" in capsys.readouterr().err
