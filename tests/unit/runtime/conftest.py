"""A small root of busybox, and a runtime to run containers of it with."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from layerline import command, kernel
from layerline.engine.runtime.container import Runtime
from layerline.engine.runtime.spec import ContainerSpec, Network, Overlay
from layerline.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from layerline.errors import LayerlineError

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/sh
"""
GROUP = "root:x:0:\ndaemon:x:1:\nsys:x:3:\naudio:x:29:daemon\nnogroup:x:65534:\n"


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a container did, read out."""

    code: int
    stdout: str
    stderr: str
    combined: str
    upper: Path
    pieces: list[tuple[bytes, int]]


@dataclass(kw_only=True)
class Box:
    """Runs programs of the busybox root; each run gets a new layer."""

    runtime: Runtime
    image: Path
    place: Path
    network: Network | None = None
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def overlay(self, *lower: Path) -> Overlay:
        """A writable overlay over the layers, or over the image."""
        place = self.place / f"layer{next(self.numbers)}"
        upper, work = place / "fs", place / "work"
        for path in (place, upper, work):
            path.mkdir()
            path.chmod(0o755)
        return Overlay(lower=lower or (self.image,), upper=upper, work=work)

    def spec(self, *argv: str, **options: Any) -> ContainerSpec:  # noqa: ANN401
        """A container of the image."""
        given = {"rootfs": self.overlay(), "argv": argv, "network": self.network}
        return ContainerSpec(**{**given, **options})

    def run(
        self,
        *argv: str,
        cancel: threading.Event | None = None,
        on_output: Callable[[bytes, int], None] | None = None,
        watch: Callable[[], LayerlineError | None] = lambda: None,
        **options: Any,  # noqa: ANN401
    ) -> Ran:
        """Run a program to its end."""
        spec = self.spec(*argv, **options)
        pieces: list[tuple[bytes, int]] = []
        listen = on_output or (lambda data, stream: pieces.append((data, stream)))
        cancel = cancel or threading.Event()
        with self.runtime.run(spec, on_output=listen, cancel=cancel, watch=watch) as done:
            assert spec.rootfs.upper is not None
            return Ran(
                code=done.code,
                stdout=done.stdout.read().decode(),
                stderr=done.stderr.read().decode(),
                combined=done.combined.read().decode(),
                upper=spec.rootfs.upper,
                pieces=pieces,
            )

    def shell(self, script: str, **options: Any) -> Ran:  # noqa: ANN401
        """Run a shell script."""
        return self.run("sh", "-c", script, **options)


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a static busybox and all its applets."""
    program = command.find("busybox")
    if program is None:
        pytest.skip("busybox is not installed")
    image = tmp_path_factory.mktemp("busybox")
    image.chmod(0o755)
    for name in ("bin", "etc", "tmp", "opt"):
        (image / name).mkdir()
    (image / "tmp").chmod(0o1777)
    (image / "bin/busybox").write_bytes(program.read_bytes())
    (image / "bin/busybox").chmod(0o755)
    for applet in command.run([program, "--list"]).stdout.decode().split():
        if applet != "busybox":
            (image / "bin" / applet).symlink_to("busybox")
    (image / "etc/passwd").write_text(PASSWD)
    (image / "etc/group").write_text(GROUP)
    return image


@pytest.fixture(scope="session")
def network(root: None) -> Iterator[Network | None]:  # noqa: ARG001
    """The network of containers: root of a user namespace cannot show them the machine's /sys."""
    if not kernel.in_user_namespace():
        yield None
        return
    script = "ip link set lo up && echo ready && exec sleep infinity"
    holder = command.start(["unshare", "--net", "sh", "-c", script], stdout=command.PIPE)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        yield Network(
            namespace=Path(f"/proc/{holder.pid}/ns/net"),
            resolv_conf=Path("/etc/resolv.conf").read_bytes(),
        )
        holder.kill()


@pytest.fixture
def box(
    busybox: Path,
    network: Network | None,
    runc: Path,  # noqa: ARG001
    overlay: None,  # noqa: ARG001
    tmp_path: Path,
) -> Iterator[Box]:
    """A runtime of its own for the test; checks that it leaves no mount."""
    settings = Settings.from_environ({"HOME": str(tmp_path)})
    with Runtime.find(settings, tmp_path / "scratch", files=tmp_path.parent) as runtime:
        yield Box(runtime=runtime, image=busybox, place=tmp_path, network=network)
        assert list((tmp_path / "scratch/run").glob("c*")) == []
    assert [line for line in mounts() if str(tmp_path) in line] == []


def mounts() -> list[str]:
    """The mount table of this process."""
    return Path("/proc/self/mounts").read_text().splitlines()


def names(layer: Path) -> list[str]:
    """Everything in a layer."""
    return sorted(str(path.relative_to(layer)) for path in layer.rglob("*"))
