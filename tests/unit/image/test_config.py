"""Image configurations survive the way through their document."""

from __future__ import annotations

import json

import pytest

from layerline.engine.image.config import Healthcheck, History, ImageConfig
from layerline.engine.image.platform import Platform
from layerline.errors import ArchiveInvalid, QueryError

FULL = ImageConfig(
    platform=Platform.parse("linux/arm/v6"),
    env=(("B", "2"), ("A", "x=y")),
    entrypoint=("/bin/sh", "-c"),
    cmd=("run",),
    user="1000:users",
    workdir="/srv",
    labels=(("a", "1"), ("b", "")),
    exposed_ports=("53/udp", "80/tcp"),
    volumes=("/data",),
    stop_signal="SIGINT",
    healthcheck=Healthcheck(test=("CMD", "curl"), interval=30_000_000_000, retries=3),
    onbuild=("RUN x",),
    shell=("/bin/bash", "-c"),
    author="me",
    created="1970-01-01T00:00:00Z",
    history=(History(created_by="a"), History(created_by="b", empty_layer=True)),
)


@pytest.mark.parametrize("config", [FULL, ImageConfig(), ImageConfig(entrypoint=(), cmd=())])
def test_the_document_says_it_all(config: ImageConfig) -> None:
    document = json.loads(json.dumps(config.to_oci(["sha256:x"])))
    assert ImageConfig.from_oci(document) == config
    assert document["rootfs"] == {"type": "layers", "diff_ids": ["sha256:x"]}


def test_the_names_are_those_of_docker() -> None:
    document = FULL.to_oci([])
    assert document["config"]["Healthcheck"] == {
        "Test": ["CMD", "curl"],
        "Interval": 30_000_000_000,
        "Retries": 3,
    }
    assert document["config"]["ExposedPorts"] == {"53/udp": {}, "80/tcp": {}}
    assert document["config"]["Env"] == ["B=2", "A=x=y"]
    assert (document["architecture"], document["variant"]) == ("arm", "v6")


def test_what_is_unset_is_left_out() -> None:
    assert ImageConfig(platform=Platform.parse("linux/amd64")).to_oci([]) == {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": []},
    }


@pytest.mark.parametrize(
    "document",
    [
        {"config": []},
        {"config": {"Env": [1]}},
        {"config": {"Env": {"A": "b"}}},
        {"config": {"User": 0}},
        {"config": {"User": "4294967295"}},
        {"config": {"User": "0:99999999999"}},
        {"config": {"Healthcheck": {"Test": ["CMD"], "Retries": "3"}}},
        {"history": [1]},
    ],
)
def test_broken_documents_are_refused(document: dict[str, object]) -> None:
    with pytest.raises(ArchiveInvalid):
        ImageConfig.from_oci(document)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/x86_64", "linux/amd64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("Linux/AMD64", "linux/amd64"),
    ],
)
def test_platforms_have_one_name(text: str, normal: str) -> None:
    assert str(Platform.parse(text)) == normal


@pytest.mark.parametrize("text", ["", "nonsense", "linux/", "a/b/c/d", "linux/a b"])
def test_an_invalid_platform_is_refused(text: str) -> None:
    with pytest.raises(QueryError, match=r"invalid platform .*: use os/architecture"):
        Platform.parse(text)
