"""The distribution's packages by version and digest: apt(8) with repositories of tiny packages.

The order in which versions compare and the fields of an index are Debian's: deb-version(7),
https://wiki.debian.org/DebianRepository/Format.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from layerline import command
from layerline.pipeline.base_pins import Deb, variables
from layerline.settings import process_environ

PROGRAMS = Path(__file__).parents[3] / "src/layerline/pipeline/programs"
NAME = "layerline-test-package"
LONGEST_SECONDS = 60.0
SHOW = 'apt-get --quiet -o "Dir::Cache=$volume" -o "Dir::State::Lists=$volume/lists"'
INSTALL = f"mkdir -p $volume/lists/partial; {SHOW} update; {SHOW} --simulate install {NAME}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A flat repository of packages, and a cache volume for what is taken from it."""

    home: Path

    def add(self, version: str, *, text: str = "", name: str = NAME, depends: str = "") -> Deb:
        """Offer a package; its digest depends on the text."""
        place = self.home / f"{name}-{version}-tree"
        (place / "DEBIAN").mkdir(parents=True, exist_ok=True)
        control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: x <x@x>\n"
        control += f"Depends: {depends}\n" if depends else ""
        (place / "DEBIAN/control").write_text(control + f"Description: a package\n {text or '.'}\n")
        file = self.packages / f"{name}_{version}_all.deb"
        self.packages.mkdir(exist_ok=True)
        command.run(["dpkg-deb", "--build", "--root-owner-group", place, file])
        digest = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
        stanza = file.with_suffix(".stanza")
        fields = f"Filename: ./{file.name}\nSize: {file.stat().st_size}\nSHA256: {digest[7:]}\n"
        stanza.write_text(control + fields + "Description: a package\n\n")
        self.index()
        return Deb(name=name, version=version, architecture="all", digest=digest)

    @property
    def packages(self) -> Path:
        return self.home / "repository"

    @property
    def source(self) -> str:
        return f"deb [trusted=yes] file:{self.packages} ./"

    def remove(self, deb: Deb) -> None:
        """Offer a version no more, as a mirror does."""
        for file in self.packages.glob(f"{deb.name}_{deb.version}_*"):
            file.unlink()
        self.index()

    def index(self) -> None:
        stanzas = sorted(self.packages.glob("*.stanza"))
        (self.packages / "Packages").write_text("".join(each.read_text() for each in stanzas))

    def kept(self, deb: Deb) -> Path:
        """Where the volume has a file."""
        return self.home / "volume/pinned" / f"{deb.digest.removeprefix('sha256:')}.deb"

    def run(
        self,
        program: str,
        *argv: str,
        debs: tuple[Deb, ...] = (),
        then: str = "",
        offline: str = "",
    ) -> command.Finished:
        texts = [(PROGRAMS / name).read_text() for name in ("apt_sources.sh", program)]
        text = variables(debs, "cpu") + "".join(texts) + then
        own = {
            "APT_VOLUME": str(self.home / "volume"),
            "SNAPSHOT": self.source,
            "OFFLINE": offline,
            "LC_ALL": "C",
        }
        return command.run(
            ["sh", "-s", "--", *argv],
            stdin=text.encode(),
            env={**process_environ(), **own},
            timeout=LONGEST_SECONDS,
            expect=None,
        )


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    if command.find("apt-get") is None or command.find("dpkg-deb") is None:
        pytest.skip("apt and dpkg are not installed")
    return Repository(home=tmp_path)


def test_the_pinned_version_is_installed_though_a_newer_one_is_offered(
    repository: Repository,
) -> None:
    pinned = repository.add("1.0")
    repository.add("1:0.5")
    done = repository.run("pinned_packages.sh", debs=(pinned,), then=INSTALL)
    assert done.status == 0, done.stderr
    assert f"Inst {NAME} (1.0 " in done.stdout.decode()
    # From here on the volume has it: neither the repository nor a network is needed.
    repository.remove(pinned)
    again = repository.run("pinned_packages.sh", debs=(pinned,), then=INSTALL, offline="1")
    assert again.status == 0, again.stderr
    assert f"Inst {NAME} (1.0 " in again.stdout.decode()


def test_another_version_is_refused_with_both_and_what_to_do(repository: Repository) -> None:
    pinned, offered = repository.add("1.0"), repository.add("1.1")
    repository.remove(pinned)
    done = repository.run("pinned_packages.sh", debs=(pinned,), then="echo INSTALLED")
    assert done.status == 1
    assert b"INSTALLED" not in done.stdout
    lines = done.stderr.decode().splitlines()
    assert lines[-3:] == [
        "the distribution's packages are not those of the lock:",
        f"  {NAME}: the lock has 1.0 ({pinned.digest}), the sources offer 1.1 ({offered.digest})",
        "pin what is offered with 'layerline call lock --target=cpu --upgrade-base export "
        "--path=locks/cpu.txt', or name a snapshot that has them in base.snapshot",
    ]


def test_another_digest_of_the_same_version_is_refused(repository: Repository) -> None:
    pinned = repository.add("1.0")
    other = repository.add("1.0", text="rebuilt")
    assert other.digest != pinned.digest
    done = repository.run("pinned_packages.sh", debs=(pinned,), then="echo INSTALLED")
    assert done.status == 1
    assert b"INSTALLED" not in done.stdout
    assert f"1.0 ({pinned.digest}), the sources offer 1.0 ({other.digest})" in done.stderr.decode()
    assert not list((repository.home / "volume/pinned").glob("*.deb"))


def test_bytes_that_differ_from_what_the_index_says_are_refused(repository: Repository) -> None:
    pinned = repository.add("1.0")
    stanza = (repository.packages / f"{NAME}_1.0_all.stanza").read_text()
    repository.add("1.0", text="planted")
    size = (repository.packages / f"{NAME}_1.0_all.deb").stat().st_size
    lines = [f"Size: {size}" if each[:6] == "Size: " else each for each in stanza.splitlines()]
    (repository.packages / "Packages").write_text("\n".join([*lines, ""]))
    done = repository.run("pinned_packages.sh", debs=(pinned,), then="echo INSTALLED")
    assert done.status != 0
    assert b"INSTALLED" not in done.stdout
    assert not repository.kept(pinned).exists()


def test_a_damaged_file_in_the_volume_is_fetched_again(repository: Repository) -> None:
    pinned = repository.add("1.0")
    assert repository.run("pinned_packages.sh", debs=(pinned,)).status == 0
    file = repository.kept(pinned)
    right = file.read_bytes()
    file.write_bytes(right[:-1] + b"x")
    assert repository.run("pinned_packages.sh", debs=(pinned,)).status == 0
    assert file.read_bytes() == right
    file.write_bytes(b"")
    done = repository.run("pinned_packages.sh", debs=(pinned,), offline="1")
    assert done.status == 1
    assert f"not all packages are cached ({NAME}=1.0)" in done.stderr.decode()


def test_what_would_be_installed_is_listed_with_the_digests_of_the_index(
    repository: Repository,
) -> None:
    repository.add("1.0")
    newest = repository.add("2.0", depends="layerline-test-needed")
    needed = repository.add("3-1", name="layerline-test-needed")
    done = repository.run("pin_packages.sh", needed.name, f"{NAME} {needed.name}")
    assert done.status == 0, done.stderr
    assert sorted(done.stdout.decode().splitlines()) == [
        f"0 {needed}",
        f"1 {needed}",
        f"1 {newest}",
    ]


def test_a_snapshot_is_read_as_debian_s_though_it_has_expired(repository: Repository) -> None:
    """https://snapshot.debian.org/ has the archives apart, and their Release files have expired."""
    urls = "\n".join(
        f"http://snapshot.debian.org/archive/{name}/20250520T000000Z"
        for name in ("debian", "debian-security")
    )
    shown = 'sed "s/ $codename/ CODENAME/" "${APT_CONFIG%/*}/sources.list"'
    text = f"SNAPSHOT='{urls}'\n" + (PROGRAMS / "apt_sources.sh").read_text() + shown
    done = command.run(
        ["sh", "-s"],
        stdin=text.encode(),
        env={**process_environ(), "APT_VOLUME": str(repository.home)},
        timeout=LONGEST_SECONDS,
    )
    debian, security = urls.splitlines()
    assert done.stdout.decode().splitlines() == [
        f"deb [check-valid-until=no] {debian} CODENAME main",
        f"deb [check-valid-until=no] {debian} CODENAME-updates main",
        f"deb [check-valid-until=no] {security} CODENAME-security main",
    ]
