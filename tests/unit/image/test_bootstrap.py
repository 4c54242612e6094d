"""Base images from packages: which, from which sources, and the same each time."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

import pytest

from layerline import command
from layerline.engine.image.bootstrap import (
    Recipe,
    arguments,
    complete_devices,
    next_step,
    sources_for,
)
from layerline.engine.image.platform import Platform
from layerline.engine.image.reference import Reference
from layerline.engine.image.registry.connections import Registries
from layerline.engine.image.resolve import Resolver, bootstrap_image
from layerline.engine.store.store import Store
from layerline.errors import BootstrapFailed, RegistryUnreachable
from layerline.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

HOST = Platform.of_host()


@pytest.fixture
def mmdebstrap() -> None:
    """The program is here."""
    if command.find("mmdebstrap") is None:
        pytest.skip("mmdebstrap is not installed")


@pytest.mark.parametrize(
    ("text", "recipe"),
    [
        ("debian:bookworm-slim", Recipe(distribution="debian", suite="bookworm", slim=True)),
        ("debian:12", Recipe(distribution="debian", suite="bookworm")),
        ("ubuntu:24.04", Recipe(distribution="ubuntu", suite="noble")),
        ("debian:bookworm-20250520-slim", None),
        ("ubuntu:24.04-slim", None),
        ("me/debian:12", None),
        ("registry.example/library/debian:12", None),
        ("python:3.11-slim", None),
        ("debian@sha256:" + "0" * 64, None),
    ],
)
def test_only_plain_bases_are_made(text: str, recipe: Recipe | None) -> None:
    assert Recipe.of(Reference.parse(text)) == recipe


def test_sources_of_the_machine_are_used_where_they_fit(tmp_path: Path) -> None:
    lists = tmp_path / "sources.list.d"
    lists.mkdir()
    (lists / "debian.sources").write_text(
        "Types: deb deb-src\n# a comment\nURIs: http://mirror.example/debian\n"
        "Suites: bookworm bookworm-updates\nComponents: main\n"
        "Signed-By:\n -----BEGIN\n .\n abc\n\n"
        "Enabled: no\nTypes: deb\nURIs: http://off.example\nSuites: bookworm\n\n"
        "Types: deb\nURIs: http://node.example\nSuites: nodistro\n"
    )
    (tmp_path / "sources.list").write_text(
        "# deb http://commented.example bookworm main\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://security.example bookworm-security main # why\n"
        "deb-src http://source.example bookworm main\n"
    )
    text = sources_for("bookworm", tmp_path)
    assert "http://mirror.example/debian" in text
    assert "Signed-By: \n -----BEGIN\n .\n abc\n" in text
    assert "URIs: http://security.example\nSuites: bookworm-security\nComponents: main\n" in text
    assert "Signed-By: /k.gpg" in text
    for name in ("off", "node", "commented", "source"):
        assert f"//{name}.example" not in text
    assert sources_for("trixie", tmp_path) == ""


def test_ubuntu_is_bootstrapped_with_apt_and_what_its_image_can_install(tmp_path: Path) -> None:
    """Ubuntu's image has apt, and all components: python3-venv and tini are in universe.

    https://packages.ubuntu.com/noble/apt has the priority "important"; mmdebstrap(1) says what its
    variant takes.
    """
    empty, given = tmp_path / "empty", tmp_path / "given"
    empty.write_text("")
    given.write_text("Types: deb\n")
    components = "--components=main,restricted,universe,multiverse"
    recipe = Recipe(distribution="ubuntu", suite="noble", packages=("python3",))
    wanted = ["--include=apt,python3", components]
    assert [each for each in arguments(recipe, tmp_path, empty) if each in wanted] == wanted
    assert components not in arguments(recipe, tmp_path, given)
    debian = arguments(Recipe(distribution="debian", suite="trixie"), tmp_path, empty)
    assert [each for each in debian if str(each).startswith(("--include", "--components"))] == []


@pytest.mark.usefixtures("root", "mmdebstrap")
def test_a_failure_says_why_and_what_next(store: Store) -> None:
    said: list[bytes] = []
    recipe = Recipe(distribution="debian", suite="no-such-suite")
    with pytest.raises(BootstrapFailed, match=r"(?s)mmdebstrap exited with status.*apt-get update"):
        bootstrap_image(store, recipe, said.append)
    assert said
    assert list((store.root / "snapshots").iterdir()) == []


def test_missing_keys_of_a_distribution_are_named_with_their_package() -> None:
    # As apt says it on a Debian without Ubuntu's keys.
    reason = "W: GPG error: the public key is not available: NO_PUBKEY 871920D1991BC93C"
    recipe = Recipe(distribution="ubuntu", suite="noble")
    assert "'apt-get install ubuntu-keyring' (on Debian 12 " in next_step(recipe, reason)
    assert next_step(recipe, "").endswith("can be reached: apt-get update")


def test_without_registry_and_recipe_the_registry_is_to_blame(store: Store, tmp_path: Path) -> None:
    settings = Settings(store=tmp_path, home=tmp_path, config=tmp_path / "config.toml")
    with Registries.open(settings) as registries:
        resolver = Resolver(store=store, registries=registries)
        with pytest.raises(RegistryUnreachable, match="refused"):
            resolver.resolve(Reference.parse("127.0.0.1:1/library/debian:12"), HOST)


@pytest.mark.slow
@pytest.mark.usefixtures("root", "mmdebstrap")
def test_the_same_packages_are_the_same_image(tmp_path: Path) -> None:
    digests = []
    for number in range(2):
        with Store.open(tmp_path / str(number)) as store:
            image, root = bootstrap_image(
                store, Recipe(distribution="debian", suite="bookworm", slim=True)
            )
            digests.append(root.descriptor.digest)
            tree = store.tree(image.layers)
            assert tree.find("/usr/bin/bash") is not None
            assert tree.find("/etc/resolv.conf") is None
            assert tree.scan("/var/lib/apt/lists") == []
    assert digests[0] == digests[1]


@pytest.mark.slow
@pytest.mark.usefixtures("root", "mmdebstrap")
def test_a_pinned_base_is_bootstrapped_with_that_digest_or_refused(
    store: Store, tmp_path: Path
) -> None:
    mirrors = {"docker.io": ("http://127.0.0.1:1",)}
    settings = Settings(
        store=tmp_path, home=tmp_path, config=tmp_path / "config.toml", mirrors=mirrors
    )
    reference = Reference.parse("debian:bookworm-slim")
    with Store.open(tmp_path / "other") as other, Registries.open(settings) as registries:
        made = Resolver(store=other, registries=registries).resolve(reference, HOST)
        assert made.reference is not None
        assert made.reference.digest is not None
        resolver = Resolver(store=store, registries=registries)
        again = resolver.resolve(made.reference, HOST)
        assert (again.reference, again.diff_ids) == (made.reference, made.diff_ids)
        with pytest.raises(BootstrapFailed, match=f"which now gives {made.reference.digest}"):
            resolver.resolve(reference.with_digest("sha256:" + "0" * 64), HOST)


@pytest.mark.usefixtures("device_nodes")
def test_the_devices_are_those_that_mmdebstrap_creates(tmp_path: Path) -> None:
    # Its table has a name, a mode, a type of tar(5), a link's target, and a device's numbers.
    text = command.require("mmdebstrap").read_text()
    [table] = re.findall(r"my @devfiles = \((.*?)\n\);", text, re.DOTALL)
    cells = r'\["([^"]*)",\s*oct\((\d+)\), (\d), +\'([^\']*)\', +(undef|\d+), +(undef|\d+)\]'
    rows = re.findall(cells, table)
    assert len(rows) == table.count("[")
    wanted = {
        name.rstrip("/"): (kind, "777" if kind == "2" else mode, target, major, minor)
        for name, mode, kind, target, major, minor in rows
        if name
    }
    (tmp_path / "proc").mkdir()
    dev = tmp_path / "dev"
    dev.mkdir()
    os.utime(tmp_path / "proc", (1_000, 1_000))
    complete_devices(dev)
    made = {}
    for path in dev.iterdir():
        info = path.lstat()
        kind = {stat.S_IFLNK: "2", stat.S_IFCHR: "3", stat.S_IFDIR: "5"}[stat.S_IFMT(info.st_mode)]
        target = str(path.readlink()) if kind == "2" else ""
        numbers = (
            (os.major(info.st_rdev), os.minor(info.st_rdev)) if kind == "3" else ("undef",) * 2
        )
        made[path.name] = (kind, f"{stat.S_IMODE(info.st_mode):o}", target, *map(str, numbers))
    assert made == wanted
    assert dev.stat().st_mtime == 1_000
