"""`exportImage` into nerdctl, which no package of Debian has.

A program that takes the flags of its command reference alone, and pulls as containerd does, which
speaks plain HTTP to a loopback address (`docker.MatchLocalhost`):
https://github.com/containerd/nerdctl/blob/main/docs/command-reference.md. Rootless nerdctl pulls in
a network namespace of its own: https://github.com/containerd/nerdctl/blob/main/docs/registry.md.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.unit.api.test_export_image import Exporter

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("root")

PROGRAM = """\
import argparse, json, pathlib, sys, tarfile, urllib.request

INDEX = "application/vnd.oci.image.index.v1+json"
KINDS = f"application/vnd.oci.image.manifest.v1+json, {INDEX}"
place = pathlib.Path(__file__).parent
known = place / "images.json"
images = json.loads(known.read_text()) if known.exists() else {}

def get(host, path):
    asked = urllib.request.Request(f"http://{host}/v2/{path}", headers={"Accept": KINDS})
    return urllib.request.urlopen(asked).read()

def pull(name):
    if (place / "rootless").exists():
        sys.exit("dial tcp 127.0.0.1:5000: connect: connection refused")
    host, _, rest = name.partition("/")
    repository, _, tag = rest.rpartition(":")
    manifest = json.loads(get(host, f"{repository}/manifests/{tag}"))
    while "manifests" in manifest:
        digest = manifest["manifests"][0]["digest"]
        manifest = json.loads(get(host, f"{repository}/manifests/{digest}"))
    for blob in (manifest["config"], *manifest["layers"]):
        if not (place / blob["digest"]).exists():
            data = get(host, f"{repository}/blobs/{blob['digest']}")
            (place / blob["digest"]).write_bytes(data)
    images[name] = manifest["config"]["digest"]

def load(archive):
    with tarfile.open(archive) as file:
        for each in json.load(file.extractfile("manifest.json")):
            for name in each["RepoTags"]:
                digest = "sha256:" + each["Config"].rpartition("/")[2]
                images[name if "/" in name else f"docker.io/library/{name}"] = digest

parser = argparse.ArgumentParser(prog="nerdctl", allow_abbrev=False)
commands = parser.add_subparsers(dest="command", required=True)
commands.add_parser("version")
one = commands.add_parser("pull")
one.add_argument("-q", "--quiet", action="store_true")
one.add_argument("name")
one = commands.add_parser("tag")
one.add_argument("source")
one.add_argument("target")
one = commands.add_parser("load")
one.add_argument("-i", "--input")
one = commands.add_parser("image").add_subparsers(required=True).add_parser("rm")
one.add_argument("-f", "--force", action="store_true")
one.add_argument("names", nargs="+")
given = parser.parse_args()
match given.command:
    case "pull":
        pull(given.name)
    case "tag":
        images[given.target] = images[given.source]
    case "load":
        load(given.input)
    case "image":
        for name in given.names:
            del images[name]
known.write_text(json.dumps(images))
"""
NAME = "docker.io/library/sample:1"


@pytest.fixture
def engine(tmp_path: Path) -> Exporter:
    """A machine that has nerdctl alone."""
    program = tmp_path / "bin/nerdctl"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{PROGRAM}")
    program.chmod(0o755)
    return Exporter(place=tmp_path, environ={"PATH": str(program.parent)})


def images(engine: Exporter) -> dict[str, str]:
    """The ids of the images by name."""
    found = json.loads((engine.place / "bin/images.json").read_text())
    return {str(name): str(digest) for name, digest in found.items()}


async def test_nerdctl_pulls_the_layers_that_it_lacks(engine: Exporter) -> None:
    said = await engine.load("one", "two")
    assert f"loaded into nerdctl as {NAME}: 2 of 2 layers pulled" in said
    assert images(engine) == {NAME: await engine.archived_id("one", "two")}
    assert "1 of 2 layers pulled" in await engine.load("new", "two")
    assert images(engine) == {NAME: await engine.archived_id("new", "two")}


async def test_rootless_nerdctl_gets_an_archive(engine: Exporter) -> None:
    (engine.place / "bin/rootless").touch()
    said = await engine.load("one", "two")
    reason = "its daemon does not reach the loopback interface of this machine"
    assert f"nerdctl cannot pull, loading an archive: {reason}\n" in said
    assert images(engine) == {NAME: await engine.archived_id("one", "two")}
