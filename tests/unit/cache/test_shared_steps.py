"""What one machine has run, another has: without a container, and without files at first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.cache.conftest import HOST
from tests.unit.conftest import ask

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cache.conftest import Machine

pytestmark = [pytest.mark.privileged, pytest.mark.usefixtures("overlay")]

UUID = 'args: ["sh", "-c", "cat /proc/sys/kernel/random/uuid | tee /made"]'
CHAIN = """
query ($root: ID!) { container { withRootfs(directory: $root) {
  withExec(%s) { withExec(args: ["sh", "-c", "echo more > /more; seq 20000"]) { %s } }
} } }
"""
MOUNTED = """
query ($root: ID!) { container { withRootfs(directory: $root) {
  withMountedDirectory(path: "/in", source: $root) {
    withExec(args: ["sh", "-c", "%s"]) { directory(path: "/in") { %s } }
  }
} } }
"""
TOKEN = '{ setSecret(name: "%s", plaintext: "%s") { id } }'
SELECTED = """query ($path: String!) { host { directory(path: $path) {
  filter(include: ["etc"]) { directory(path: "/etc") { id } }
} } }"""
FILTERED = """
query ($root: ID!) {
  directory { withDirectory(path: "/", source: $root) { id } }
  container { withRootfs(directory: $root) {
    withMountedDirectory(path: "/in", source: "%s") {
      withExec(args: ["cat", "/in/passwd"]) { stdout }
    }
  } }
}
"""
SECRET = """
query ($root: ID!, $secret: ID!) { container { withRootfs(directory: $root) {
  withSecretVariable(name: "TOKEN", secret: $secret) { withExec(%s) { stdout
    withoutSecretVariable(name: "TOKEN") { withExec(args: ["echo", "above"]) { stdout } }
  } }
} } }
"""


async def test_another_machine_runs_no_container(
    machines: tuple[Machine, Machine], rootfs: Path
) -> None:
    first, second = machines
    query = CHAIN % (UUID, 'stdout exitCode file(path: "/made") { contents }')
    made = await first.run(rootfs, query)
    assert len(first.containers()) == 2
    assert await second.run(rootfs, query) == made
    assert second.containers() == []


async def test_files_come_when_they_are_read(
    machines: tuple[Machine, Machine], rootfs: Path
) -> None:
    first, second = machines
    await first.run(rootfs, CHAIN % (UUID, "exitCode"))
    await second.run(rootfs, CHAIN % (UUID, "exitCode"))
    assert second.unpacked() == []
    await second.run(rootfs, CHAIN % (UUID, 'file(path: "/more") { contents name size }'))
    assert len(second.unpacked()) == 1, "more than the layer that has the file"
    await second.run(rootfs, CHAIN % (UUID, "rootfs { entries }"))
    assert len(second.unpacked()) == 3
    assert second.containers() == []


async def test_a_step_that_is_new_runs_on_files_of_the_other_machine(
    machines: tuple[Machine, Machine], rootfs: Path
) -> None:
    first, second = machines
    made = await first.run(rootfs, CHAIN % (UUID, 'file(path: "/made") { contents }'))
    read = CHAIN % (UUID, 'withExec(args: ["cat", "/made"]) { stdout }')
    found = await second.run(rootfs, read)
    assert second.containers() == ["withExec cat /made"]

    def below(answer: object, *path: str) -> object:
        for name in ("container", "withRootfs", "withExec", "withExec", *path):
            assert isinstance(answer, dict)
            answer = answer[name]
        return answer

    assert below(found, "withExec", "stdout") == below(made, "file", "contents")


@pytest.mark.parametrize("script", ["echo new > /in/tmp/new", "cat /in/bin/busybox > /tmp/copy"])
async def test_what_was_written_to_a_mount_is_shared_over_its_files(
    machines: tuple[Machine, Machine], rootfs: Path, script: str
) -> None:
    first, second = machines
    query = MOUNTED % (script, 'entries directory(path: "/tmp") { entries }')
    made = await first.run(rootfs, query)
    assert await second.run(rootfs, query) == made
    assert second.containers() == []


async def test_a_selection_of_the_host_is_known_by_its_content(
    machines: tuple[Machine, Machine], rootfs: Path
) -> None:
    (rootfs / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    for machine in machines:
        async with machine.session() as session:
            root = (await ask(session, HOST, path=str(rootfs)))["host"]["directory"]["id"]
            found = await ask(session, SELECTED, path=str(rootfs))
            etc = found["host"]["directory"]["filter"]["directory"]["id"]
            await ask(session, FILTERED % etc, root=root)
    assert [len(machine.containers()) for machine in machines] == [1, 0]


async def test_a_publication_to_the_same_registry_fetches_no_layer(
    machines: tuple[Machine, Machine], rootfs: Path, registry: str
) -> None:
    first, second = machines
    query = CHAIN % (UUID, f'publish(address: "{registry}/images/%s")')
    made = await first.run(rootfs, query % "one")
    again = await second.run(rootfs, query % "two")
    assert second.unpacked() == []
    assert second.containers() == []
    assert second.layers() == 0
    digests = [str(each).partition("@")[2] for each in (made, again)]
    assert digests[0] == digests[1] != ""


async def test_an_archive_is_written_without_unpacking(
    machines: tuple[Machine, Machine], rootfs: Path, tmp_path: Path
) -> None:
    first, second = machines
    query = CHAIN % (UUID, f'export(path: "{tmp_path}/%s.tar")')
    await first.run(rootfs, query % "one")
    await second.run(rootfs, query % "two")
    assert second.unpacked() == []
    one, two = tmp_path / "one.tar", tmp_path / "two.tar"
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("name", "plaintext", "step", "containers"),
    [
        ("token", "hidden-token", UUID, 2),
        ("token", "", UUID, 0),
        ("token", "hidden-token", 'args: ["echo", "--require-hashes"]', 0),
        ("layerline-netrc", "hidden-token", UUID, 0),
        ("layerline-netrc", "hidden-token", 'args: ["sh", "-c", "echo $TOKEN >/kept"]', 2),
        ("layerline-netrc", "hidden-token", 'args: ["sh", "-c", "echo $TOKEN | base64"]', 1),
    ],
)
async def test_what_was_given_a_secret_is_not_sent_nor_what_is_above_it(
    machines: tuple[Machine, Machine],
    rootfs: Path,
    name: str,
    plaintext: str,
    step: str,
    containers: int,
) -> None:
    first, second = machines
    for machine in machines:
        async with machine.session() as session:
            secret = (await ask(session, TOKEN % (name, plaintext)))["setSecret"]["id"]
            root = (await ask(session, HOST, path=str(rootfs)))["host"]["directory"]["id"]
            await ask(session, SECRET % step, root=root, secret=secret)
    assert len(first.containers()) == 2
    assert len(second.containers()) == containers


async def test_a_mode_that_only_reads_sends_nothing(
    machines: tuple[Machine, Machine], rootfs: Path
) -> None:
    _, second = machines
    for _ in range(2):
        await second.run(rootfs, CHAIN % (UUID, "exitCode"))
    second.home = second.home.with_name("third")
    second.home.mkdir()
    await second.run(rootfs, CHAIN % (UUID, "exitCode"))
    assert len(second.containers()) == 2


SERVICE = """query ($root: ID!) { container { withRootfs(directory: $root) {
  withExposedPort(port: 80) { %s
    asService(args: ["sh", "-c", "%s; while true; do busybox nc -lp 80 < /dev/null; done"]) { id }
  %s }
} } }"""
SERVED = """query ($root: ID!, $source: ID!, $outer: ID!) {
container { withRootfs(directory: $root) {
  withMountedDirectory(path: "/in", source: $source) {
    withServiceBinding(alias: "outer", service: $outer) {
      withExec(args: ["cat", "/in/passwd"]) { stdout }
    }
  }
} } }"""
COPIED = """query ($source: ID!) { directory { withDirectory(path: "/", source: $source) {
  withNewFile(path: "n", contents: "") { withoutFile(path: "n") { id } } } } }"""


async def serve(machine: Machine, rootfs: Path, *, is_copied: bool) -> dict[str, bytes]:
    """Run a step with a service that has another one; what the services wrote."""
    async with machine.session() as session:
        root = (await ask(session, HOST, path=str(rootfs)))["host"]["directory"]["id"]
        source = (await ask(session, HOST, path=str(rootfs / "etc")))["host"]["directory"]["id"]
        if is_copied:
            found = await ask(session, COPIED, source=source)
            source = found["directory"]["withDirectory"]["withNewFile"]["withoutFile"]["id"]
        found = await ask(session, SERVICE % ("", "echo inner", ""), root=root)
        inner = found["container"]["withRootfs"]["withExposedPort"]["asService"]["id"]
        bind = f'withServiceBinding(alias: "within", service: "{inner}") {{'
        found = await ask(session, SERVICE % (bind, "cat /etc/hosts", "}"), root=root)
        bound = found["container"]["withRootfs"]["withExposedPort"]["withServiceBinding"]
        outer = bound["asService"]["id"]
        made = await ask(session, SERVED, root=root, source=source, outer=outer)
        step = made["container"]["withRootfs"]["withMountedDirectory"]["withServiceBinding"]
        assert step["withExec"]["stdout"] == "nobody\n"
    written: dict[str, bytes] = {}
    for event in machine.events:
        if event.output and event.name.startswith("service "):
            written[event.name] = written.get(event.name, b"") + event.output
    return written


async def test_what_is_known_starts_no_services(
    machines: tuple[Machine, Machine], rootfs: Path
) -> None:
    first, second = machines
    (rootfs / "etc/passwd").write_text("nobody\n")
    outputs = sorted((await serve(first, rootfs, is_copied=False)).values())
    assert len(outputs) == 2
    assert b"within" in outputs[0]
    assert outputs[1] == b"inner\n"
    # The mounted files have another key, so it is known after the services are.
    assert await serve(second, rootfs, is_copied=True) == {}
    assert second.containers() == []
