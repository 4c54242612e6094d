"""Files are sent once, in the form that published images have them in."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import anyio.to_thread
import pytest
import zstandard

from layerline.engine.image import pack
from layerline.engine.image.registry.repository import Repository
from tests.unit.cache.conftest import HOST
from tests.unit.conftest import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from layerline.engine.api.session import Session
    from layerline.engine.cache.outgoing import Sender
    from layerline.engine.image.manifests import Descriptor
    from layerline.engine.store.store import Store
    from tests.unit.cache.conftest import Machine

pytestmark = [pytest.mark.privileged, pytest.mark.usefixtures("overlay")]

PREFIX = '{ directory { withNewFile(path: "/etc/kept", contents: "") { id } } }'
INSTALL = """query ($root: ID!, $prefix: ID!) { container { withRootfs(directory: $root) {
  withMountedDirectory(path: "/opt/venv", source: $prefix) {
    withExec(args: ["sh", "-c", "seq 30000 > /opt/venv/lib; echo x > /opt/venv/etc/x"]) {
      stdout directory(path: "/opt/venv") { id }
    }
  }
} } }"""
ADDED = "query ($a: ID!, $b: ID!) { node(id: $a) { ... on Directory { diff(other: $b) { id } } } }"
IMAGE = """query ($root: ID!, $added: ID!) { container { withRootfs(directory: $root) {
  withDirectory(path: "/opt/venv", source: $added) { %s }
} } }"""
ARCHIVE = "asTarball(forcedCompression: Zstd) { id }"
IMPORT = """query ($file: ID!) { container { import(source: $file) {
  withExec(args: ["sh", "-c", "cat /opt/venv/etc/x /proc/sys/kernel/random/uuid"]) { stdout }
} } }"""
SIZE = "query ($file: ID!) { node(id: $file) { ... on File { size digest } } }"
COMPILE = """query ($root: ID!) { container { withRootfs(directory: $root) {
  withExec(args: ["sh", "-c", "busybox mkdir -p /made/d; %s"]) {
    directory(path: "/made") { id }
  }
} } }"""
EMPTY = "{ directory { id } }"
COMPILE_INTO = """query ($root: ID!, $empty: ID!) { container { withRootfs(directory: $root) {
  withDirectory(path: "/made", source: $empty) {
    withExec(args: ["sh", "-c", "busybox mkdir -p /made/d; echo done; %s"]) {
      stdout directory(path: "/made") { id }
    }
  }
} } }"""
MERGE = """query ($a: ID!, $b: ID!) { directory {
  withDirectory(path: "/", source: $a) { withDirectory(path: "/", source: $b) { id } }
} }"""
MADE = """query ($made: ID!) { node(id: $made) { ... on Directory {
  directory(path: "d") { entries } file(path: "%s") { size } } } }"""
SCRATCH = """query ($added: ID!) { container { withDirectory(path: "/", source: $added) {
  withDirectory(path: "/opt", source: $added) { publish(address: "%s") } } } }"""
FILE = """query ($added: ID!) { node(id: $added) { ... on Directory {
  file(path: "/etc/x") { contents } entries } } }"""


async def install(session: Session, rootfs: Path) -> dict[str, str]:
    """Install into a prefix as the pipeline does; the ids of the base and of what was added."""
    root = (await ask(session, HOST, path=str(rootfs)))["host"]["directory"]["id"]
    prefix = (await ask(session, PREFIX))["directory"]["withNewFile"]["id"]
    made = await ask(session, INSTALL, root=root, prefix=prefix)
    mounted = made["container"]["withRootfs"]["withMountedDirectory"]["withExec"]["directory"]
    added = await ask(session, ADDED, a=prefix, b=mounted["id"])
    return {"root": root, "added": added["node"]["diff"]["id"]}


def wait_until_sent(sender: Sender) -> None:
    """Wait until nothing is left but the difference, without an end of the session."""
    end = time.monotonic() + 60
    while sender.left > 1 and time.monotonic() < end:
        time.sleep(0.01)
    assert sender.left == 1


@pytest.fixture
def uploads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each layer was uploaded."""
    found: Counter[str] = Counter()
    upload = Repository._upload

    def count(
        self: Repository,
        store: Store,
        layer: Descriptor,
        sources: list[str],
        watch: Callable[[], None] | None = None,
    ) -> bool:
        is_sent = upload(self, store, layer, sources, watch)
        found[layer.digest] += is_sent
        return is_sent

    monkeypatch.setattr(Repository, "_upload", count)
    return found


async def test_what_is_placed_into_an_image_is_sent_once(
    machines: tuple[Machine, Machine], rootfs: Path, uploads: Counter[str]
) -> None:
    first, second = machines
    async with first.session() as session:
        ids = await install(session, rootfs)
        await ask(session, IMAGE % "sync", **ids)
    # The root file system, the exec's own layer, and what it installed.
    assert sorted(uploads.values()) == [1, 1, 1]
    async with second.session() as session:
        ids = await install(session, rootfs)
        assert second.unpacked() == []
        found = await ask(session, FILE, added=ids["added"])
        assert found["node"] == {"file": {"contents": "x\n"}, "entries": ["etc/", "lib"]}
    assert second.containers() == []


async def test_what_is_in_no_image_is_sent_at_the_end(
    machines: tuple[Machine, Machine], rootfs: Path
) -> None:
    first, second = machines
    async with first.session() as session:
        ids = await install(session, rootfs)
        await ask(session, FILE, added=ids["added"])
    async with second.session() as session:
        ids = await install(session, rootfs)
        found = await ask(session, FILE, added=ids["added"])
        assert found["node"]["file"] == {"contents": "x\n"}
    assert second.containers() == []


async def test_what_has_no_place_for_long_is_sent_before_the_end(
    machines: tuple[Machine, Machine], rootfs: Path
) -> None:
    first, second = machines
    async with first.session() as session:
        shared = session.solver.context.shared
        assert shared is not None
        assert shared.sender is not None
        shared.sender._deferred.longest = 0.0
        ids = await install(session, rootfs)
        await ask(session, FILE, added=ids["added"])
        await anyio.to_thread.run_sync(wait_until_sent, shared.sender)
        async with second.session() as other:
            ids = await install(other, rootfs)
            found = await ask(other, FILE, added=ids["added"])
    assert found["node"]["file"] == {"contents": "x\n"}
    assert second.containers() == []


async def test_the_end_says_how_much_is_left_to_send(
    machines: tuple[Machine, Machine], rootfs: Path
) -> None:
    first, _ = machines
    may_send = threading.Event()
    async with first.session() as session:
        shared = session.solver.context.shared
        assert shared is not None
        sender = shared.sender
        assert sender is not None
        seal = sender.seal

        def seal_later(payload: bytes) -> bytes:
            may_send.wait(60)
            return seal(payload)

        sender.seal = seal_later
        ids = await install(session, rootfs)
        await ask(session, FILE, added=ids["added"])
        unsent = sender.unsent()
        may_send.set()
    # The program, the numbers, and what is smaller.
    files = (rootfs / "bin/busybox").stat().st_size + 168_894
    assert 0 < sender.sent_bytes <= unsent.bytes <= files + 10_000
    assert unsent.results == sender.sent
    assert [name for name in first.steps() if f"cache: send {unsent} to {first.cache}" in name]


@pytest.mark.parametrize("form", ["Zstd", "Gzip"])
async def test_a_publication_sends_nothing_that_the_cache_has(
    machines: tuple[Machine, Machine],
    rootfs: Path,
    registry: str,
    uploads: Counter[str],
    form: str,
) -> None:
    first, second = machines
    place = f"{registry}/images/{first.home.parent.name.lower().replace('_', '-')}"
    publish = f'publish(address: "{place}/%s:1", forcedCompression: {form})'
    references = []
    for machine, name in ((first, "one"), (second, "two")):
        async with machine.session() as session:
            ids = await install(session, rootfs)
            made = await ask(session, IMAGE % (publish % name), **ids)
            references.append(made["container"]["withRootfs"]["withDirectory"]["publish"])
    digests = {reference.partition("@")[2] for reference in references}
    assert len(digests) == 1
    assert max(uploads.values()) == 1
    assert second.layers() == 0


async def test_an_image_that_was_tested_is_published_in_another_form_as_before(
    machines: tuple[Machine, Machine], rootfs: Path, registry: str
) -> None:
    first, second = machines
    place = f"{registry}/images/{first.home.parent.name.lower().replace('_', '-')}"
    async with first.session() as session:
        ids = await install(session, rootfs)
        await ask(session, IMAGE % "sync", **ids)
    references = []
    for machine, name in ((first, "one"), (second, "two")):
        async with machine.session() as session:
            ids = await install(session, rootfs)
            made = await ask(session, IMAGE % f'publish(address: "{place}/{name}:1")', **ids)
            references.append(made["container"]["withRootfs"]["withDirectory"]["publish"])
    assert len({reference.partition("@")[2] for reference in references}) == 1
    assert second.unpacked() == []


async def test_what_ran_in_an_image_that_was_exported_needs_no_bytes_of_it(
    machines: tuple[Machine, Machine], rootfs: Path
) -> None:
    _, second = machines
    answers = []
    for machine in machines:
        async with machine.session() as session:
            ids = await install(session, rootfs)
            made = await ask(session, IMAGE % ARCHIVE, **ids)
            file = made["container"]["withRootfs"]["withDirectory"]["asTarball"]["id"]
            answers.append(await ask(session, IMPORT, file=file))
    assert answers[0] == answers[1]
    assert second.containers() == []
    assert second.layers() == 0
    read = []
    for machine in machines:
        async with machine.session() as session:
            ids = await install(session, rootfs)
            made = await ask(session, IMAGE % ARCHIVE, **ids)
            file = made["container"]["withRootfs"]["withDirectory"]["asTarball"]["id"]
            read.append(await ask(session, SIZE, file=file))
    assert read[0] == read[1]
    assert second.unpacked() == []


async def test_what_the_repository_has_is_not_announced_again(
    machines: tuple[Machine, Machine], rootfs: Path
) -> None:
    first, _ = machines
    for _ in range(2):
        async with first.session() as session:
            shared = session.solver.context.shared
            assert shared is not None
            shared.places[0].tags()
            ids = await install(session, rootfs)
            await ask(session, IMAGE % "sync", **ids)
    assert [name for name in first.steps() if "cache: sen" in name] == []


async def test_the_table_of_an_image_in_parts_is_in_no_other_form(
    machines: tuple[Machine, Machine], rootfs: Path, registry: str
) -> None:
    first, second = machines
    place = f"{registry}/images/{first.home.parent.name.lower().replace('_', '-')}"
    publish = f'publish(address: "{place}/%s:1", forcedCompression: %s)'
    references = []
    for machine, name, form in (
        (first, "parts", "EStarGZ"),
        (first, "one", "Zstd"),
        (second, "two", "Zstd"),
    ):
        async with machine.session() as session:
            ids = await install(session, rootfs)
            made = await ask(session, IMAGE % (publish % (name, form)), **ids)
            references.append(made["container"]["withRootfs"]["withDirectory"]["publish"])
    parts, one, two = (reference.partition("@")[2] for reference in references)
    assert one == two != parts


async def test_what_came_packed_is_not_packed_again_over_another_base(
    machines: tuple[Machine, Machine],
    rootfs: Path,
    registry: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = machines
    place = f"{registry}/images/{first.home.parent.name.lower().replace('_', '-')}"
    publish = f'publish(address: "{place}:1", forcedCompression: Zstd)'
    async with first.session() as session:
        ids = await install(session, rootfs)
        await ask(session, IMAGE % "sync", **ids)
    packed: list[str] = []
    pack_files = pack.pack

    def record(snapshot: Path, *, epoch: int | None = None) -> Iterator[bytes]:
        packed.append(snapshot.parent.name)
        return pack_files(snapshot, epoch=epoch)

    monkeypatch.setattr(pack, "pack", record)
    async with second.session() as session:
        ids = await install(session, rootfs)
        changed = IMAGE.replace(
            "withDirectory", 'withNewFile(path: "/n", contents: "") { withDirectory'
        )
        found = await ask(session, changed % publish + " }", **ids)
    assert found["container"]["withRootfs"]["withNewFile"]["withDirectory"]["publish"]
    assert second.containers() == []
    # The directory of the host and the new file, and not what was installed.
    assert len(packed) == 2


async def compile_parts(session: Session, root: str) -> str:
    """Make files in two steps and merge them, as the pipeline does with bytecode."""
    places = []
    for script in ("seq 9000 > /made/a", "seq 8000 > /made/d/b"):
        found = await ask(session, COMPILE % script, root=root)
        made = found["container"]["withRootfs"]["withExec"]
        places.append(made["directory"]["id"])
    merged = await ask(session, MERGE, a=places[0], b=places[1])
    identifier: str = merged["directory"]["withDirectory"]["withDirectory"]["id"]
    return identifier


async def test_what_is_merged_and_placed_is_sent_as_the_layer_of_the_image(
    machines: tuple[Machine, Machine], rootfs: Path, uploads: Counter[str]
) -> None:
    first, second = machines
    async with first.session() as session:
        root = (await ask(session, HOST, path=str(rootfs)))["host"]["directory"]["id"]
        added = await compile_parts(session, root)
        await ask(session, IMAGE % "sync", root=root, added=added)
    # The root file system, the two steps, and the layer of the image.
    assert sorted(uploads.values()) == [1, 1, 1, 1]
    changed = IMAGE.replace(
        "withDirectory", 'withNewFile(path: "/n", contents: "") { withDirectory'
    )
    async with second.session() as session:
        root = (await ask(session, HOST, path=str(rootfs)))["host"]["directory"]["id"]
        added = await compile_parts(session, root)
        await ask(session, changed % "sync }", root=root, added=added)
    # Over another base the files of the layer are enough: those of the steps are not fetched.
    assert len({name.partition(".")[0] for name in second.unpacked()}) == 1
    assert second.containers() == []


async def compile_into(session: Session, root: str, *numbers: int) -> list[str]:
    """Make files in steps that were given an empty directory for them; the ids of these."""
    empty = (await ask(session, EMPTY))["directory"]["id"]
    found = []
    for place, number in enumerate(numbers):
        script = f"seq {number} > /made/d/{place}; busybox ln -s {place} /made/d/{place}.link"
        made = await ask(session, COMPILE_INTO % script, root=root, empty=empty)
        step = made["container"]["withRootfs"]["withDirectory"]["withExec"]
        assert step["stdout"] == "done\n"
        found.append(step["directory"]["id"])
    return found


def blobs_in(registry: Path) -> set[Path]:
    """The blobs of a registry."""
    return set(registry.glob("*/*/data"))


def zstd_texts(places: Collection[Path]) -> set[bytes]:
    """What is in those blobs that are compressed by zstd."""
    data = [place.read_bytes() for place in places]
    return {
        zstandard.decompress(each, max_output_size=1 << 24)
        for each in data
        if each.startswith(b"\x28\xb5\x2f\xfd")
    }


async def place_merged(session: Session, root: str, parts: list[str]) -> None:
    """Merge files of steps, and place them into an image."""
    merged = await ask(session, MERGE, a=parts[0], b=parts[1])
    added = merged["directory"]["withDirectory"]["withDirectory"]["id"]
    await ask(session, IMAGE % "sync", root=root, added=added)


async def test_what_steps_wrote_for_an_image_is_sent_as_its_layer(
    machines: tuple[Machine, Machine], rootfs: Path, registry_blobs: Path
) -> None:
    first, second = machines
    before = blobs_in(registry_blobs)  # other tests damage theirs
    async with first.session() as session:
        root = (await ask(session, HOST, path=str(rootfs)))["host"]["directory"]["id"]
        await place_merged(session, root, await compile_into(session, root, 29000, 28000))
    # Of 160 kB each, once: the layer of the image. What the steps wrote is links to its files.
    texts = zstd_texts(blobs_in(registry_blobs) - before)
    for number in (28000, 29000):
        assert sum(f"\n{number - 1}\n{number}\n".encode() in text for text in texts) == 1
    async with second.session() as session:
        root = (await ask(session, HOST, path=str(rootfs)))["host"]["directory"]["id"]
        parts = await compile_into(session, root, 29000, 28000)
        assert second.unpacked() == []
        # Another step has changed: what the first one wrote is taken out of the layer.
        parts[1] = (await compile_into(session, root, 0, 27000))[1]
        await place_merged(session, root, parts)
        found = [
            (await ask(session, MADE % f"d/{place}", made=part))["node"]
            for place, part in enumerate(parts)
        ]
    assert len(second.containers()) == 2
    lengths = [len("".join(f"{line + 1}\n" for line in range(each))) for each in (29000, 27000)]
    assert [each["directory"]["entries"] for each in found] == [["0", "0.link"], ["1", "1.link"]]
    assert [each["file"]["size"] for each in found] == lengths


async def test_an_image_without_a_base_is_published_without_its_files(
    machines: tuple[Machine, Machine], rootfs: Path, registry: str
) -> None:
    first, second = machines
    place = f"{registry}/images/{first.home.parent.name.lower().replace('_', '-')}"
    references = []
    for machine, name in ((first, "one"), (second, "two")):
        async with machine.session() as session:
            ids = await install(session, rootfs)
            made = await ask(session, SCRATCH % f"{place}/{name}:1", added=ids["added"])
            references.append(made["container"]["withDirectory"]["withDirectory"]["publish"])
    assert len({reference.partition("@")[2] for reference in references}) == 1
    assert second.layers() == 0
