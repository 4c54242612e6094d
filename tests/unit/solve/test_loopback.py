"""Which ports of the host's loopback a container gets: those that the user named, where used."""

from __future__ import annotations

from pathlib import Path

import pytest

from layerline.engine.runtime.spec import ContainerSpec, Overlay, SecretFile
from layerline.engine.solve.loopback import LoopbackPorts
from layerline.settings import Settings


@pytest.mark.parametrize(
    ("arguments", "environ", "ports"),
    [
        (["--index-url=https://127.0.0.1:8443/simple"], {}, {8443}),
        (["--index-url", "http://me:secret@localhost/simple"], {}, {80}),
        (["--to", "127.0.0.1:5000/image"], {}, {5000}),
        (["http://127.0.0.1.example.org:1/", "http://10.0.0.1:2/"], {}, set()),
        ([], {"HTTPS_PROXY": "http://localhost:3128"}, {3128}),
        ([], {"https_proxy": "127.0.0.1:3128"}, {3128}),
        ([], {"PIP_INDEX_URL": "http://127.0.0.1:1/"}, {1}),
        ([], {"UV_DEFAULT_INDEX": "http://localhost:2"}, {2}),
        ([], {"DATABASE_URL": "http://localhost:5432"}, set()),
    ],
)
def test_what_the_user_names(
    arguments: list[str], environ: dict[str, str], ports: set[int]
) -> None:
    settings = Settings.from_environ({"HOME": "/home/me", **environ})
    assert LoopbackPorts.of_user(arguments, settings).named == ports


def test_what_the_user_names_by_another_address() -> None:
    """A registry on the machine's address in its network, which publish is told."""
    settings = Settings.from_environ({"HOME": "/home/me", "PIP_INDEX_URL": "http://10.0.0.2:8/"})
    arguments = ["--address=10.0.0.1:5000/team/api:1", "1.2.3.4.5:1", "v10.0.0.3:1"]
    found = LoopbackPorts.of_user(arguments, settings)
    assert found.endpoints == {("10.0.0.1", 5000), ("10.0.0.2", 8)}
    assert found.named == set()


def container(*argv: str, **words: object) -> ContainerSpec:
    return ContainerSpec(rootfs=Overlay(lower=(Path("/x"),)), argv=argv, **words)  # type: ignore[arg-type]


def test_only_steps_that_name_a_port_get_it() -> None:
    ports = LoopbackPorts(frozenset({8443, 3128}))
    url = "https://127.0.0.1:8443/simple"
    secret = SecretFile(target="/pip.conf", data=f"index-url = {url}".encode())
    assert ports.used_by(container("true")) == ()
    assert ports.used_by(container("pip", "install", f"--index-url={url}")) == (8443,)
    assert ports.used_by(container("pip", env=(("HTTPS_PROXY", "localhost:3128"),))) == (3128,)
    assert ports.used_by(container("pip", mounts=(secret,))) == (8443,)
    assert ports.used_by(container("curl", "http://127.0.0.1:22")) == ()
