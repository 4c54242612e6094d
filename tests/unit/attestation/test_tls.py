"""A registry with a certificate of its own authority: what is attached there, and verified."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layerline.cli.main import run_command_line
from layerline.pipeline.programs.attachment.registry import RegistryError
from tests.published import Image, Repository, new_key
from tests.registry import CERTIFICATE, own_address, serving

if TYPE_CHECKING:
    from pathlib import Path


def test_its_certificate_must_be_trusted_to_attach_and_to_verify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    private, public = new_key(tmp_path, "own")
    with serving(tmp_path, tls=own_address()) as address:
        repository = Repository(registry=address, place=tmp_path, scheme="https")
        digest = repository.push(Image())
        argv = ["verify", repository.address(), f"--key={public}"]
        with pytest.raises(RegistryError) as refused:
            repository.attach(digest, key=private)
        assert f"the certificate of {address} is not trusted" in str(refused.value)
        assert "--ca-bundle" in str(refused.value)
        assert run_command_line(argv) == 1
        assert f"tls: {address}: certificate not trusted: " in (said := capsys.readouterr().err)
        assert "SSL_CERT_FILE" in said
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / CERTIFICATE))
        repository.attach(digest, key=private)
        assert run_command_line(argv) == 0
        assert f"digest: {digest}" in capsys.readouterr().out
