"""Images: references, configuration over what was there, platforms, archives, Dockerfiles."""

from __future__ import annotations

import json

import pytest

from tests.parity.conftest import ParitySession, box, directory, sh

pytestmark = pytest.mark.privileged

CONFIGURED = (
    'withEnvVariable(name: "E", value: "img") { withLabel(name: "l", value: "img") '
    '{ withExposedPort(port: 80) { withEntrypoint(args: ["e"]) { withUser(name: "1") '
    '{ withDockerHealthcheck(args: ["hc"], interval: "3s") { %s } } } } } }'
)


def test_from_merges_variables_labels_and_ports_alone(session: ParitySession) -> None:
    """TestFromMergesWithParent of the Dagger engine, and the protocol's section 5.4."""
    address = f"{session.registry}/parity/merged:one"
    files = 'withNewFile(path: "/a", contents: "1")'
    publish = CONFIGURED % f'publish(address: "{address}")'
    published = session.identity(f"{{ container {{ {files} {{ {publish} }} }} }}")
    assert published.startswith(f"{address}@sha256:")
    fields = (
        "imageRef envVariables { name value } labels { name value } exposedPorts { port } "
        "entrypoint user workdir mounts dockerHealthcheck { args interval }"
    )
    got = session.answer(
        '{ container { withEnvVariable(name: "E", value: "old") { withEnvVariable(name: "P", '
        'value: "1") { withLabel(name: "p", value: "1") { withExposedPort(port: 81) '
        '{ withEntrypoint(args: ["old"]) { withWorkdir(path: "/old") { withMountedTemp(path: "/t") '
        f'{{ from(address: "{published}") {{ {fields} }} }} }} }} }} }} }} }} }} }}'
    )
    assert got == {
        "imageRef": published,
        "envVariables": [{"name": "E", "value": "img"}, {"name": "P", "value": "1"}],
        "labels": [{"name": "p", "value": "1"}, {"name": "l", "value": "img"}],
        "exposedPorts": [{"port": 81}, {"port": 80}],
        "entrypoint": ["e"],
        "user": "1",
        "workdir": "",
        "mounts": ["/t"],
        "dockerHealthcheck": {"args": ["hc"], "interval": "3s"},
    }


def test_a_variant_is_chosen_from_an_archive_and_from_a_registry(session: ParitySession) -> None:
    """The protocol's section 5.12: several images, one of which fits the container."""
    arm = session.identity(
        '{ container(platform: "linux/arm64") { withNewFile(path: "/a", contents: "arm") { id } } }'
    )
    files = 'withNewFile(path: "/a", contents: "amd")'
    variants = f'platformVariants: ["{arm}"]'
    archive = session.identity(
        f"{{ container {{ {files} {{ asTarball({variants}) {{ id }} }} }} }}"
    )
    published = session.identity(
        f'{{ container {{ {files} {{ publish(address: "{session.registry}/parity/two", {variants}) '
        "} } }"
    )
    for way in (f'import(source: "{archive}")', f'from(address: "{published}")'):
        for platform, contents in (("linux/amd64", "amd"), ("linux/arm64", "arm")):
            got = session.answer(
                f'{{ container(platform: "{platform}") {{ {way} '
                '{ platform file(path: "/a") { contents } } } }'
            )
            assert got == {"platform": platform, "file": {"contents": contents}}
    error = session.error(
        f'{{ container(platform: "linux/s390x") {{ from(address: "{published}") {{ id }} }} }}'
    )
    assert "no match for platform" in error["message"]


def test_older_names_of_forms_are_understood(session: ParitySession) -> None:
    """core/container.go registers them as aliases."""
    session.answer(
        '{ container { withNewFile(path: "/a", contents: "1") '
        '{ export(path: "old.tar", mediaTypes: DOCKER, forcedCompression: ZSTD) } } }'
    )
    assert (session.workdir / "old.tar").stat().st_size > 0


def test_a_secret_of_a_build_stays_mounted(session: ParitySession) -> None:
    """core/container.go, Build, mounts them at /run/secrets in what it gives."""
    secret = session.identity('{ setSecret(name: "parity-build", plaintext: "hunter22") { id } }')
    lines = (
        "FROM debian:bookworm-slim",
        "RUN --mount=type=secret,id=parity-build,target=/x cat /x | wc -c > /n",
    )
    contents = json.dumps("\n".join(lines))
    context = session.identity(
        directory(f'withNewFile(path: "Dockerfile", contents: {contents}) {{ id }}')
    )
    built = f'dockerBuild(secrets: ["{secret}"])'
    got = session.answer(
        f'{{ node(id: "{context}") {{ ... on Directory {{ {built} '
        f"{{ {sh('cat /n /run/secrets/parity-build')} }} }} }} }}"
    )
    assert got == "8\n***"


def test_privileged_execs_have_a_host_name_of_their_own(session: ParitySession) -> None:
    """The protocol's section 5.1."""
    assert session.answer(box(sh("hostname"))) == "dagger\n"
    name = session.identity(box(sh("hostname", ", insecureRootCapabilities: true")))
    assert len(name.strip()) >= 32
