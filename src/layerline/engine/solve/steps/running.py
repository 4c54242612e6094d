"""An exec.

Overlays for the root file system and for each mount, a container, and what it left as new
snapshots.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.engine.runtime import spec
from layerline.engine.runtime.terminal import run_on_terminal
from layerline.engine.solve import ops
from layerline.engine.solve.naming import describe
from layerline.engine.solve.result import INLINE_BYTES, Result, Text
from layerline.engine.store.removal import remove_tree
from layerline.engine.store.tree import Tree
from layerline.engine.store.writer import Writer
from layerline.errors import ExecError

if TYPE_CHECKING:
    from layerline.engine.runtime.spec import Outcome, Output
    from layerline.engine.solve.bench import Bench, Work
    from layerline.engine.store.snapshots import Draft

_ERROR_BYTES = 100 * 1024
_SIGNALS = range(128, 192)
_INVITATION = b"\r\n%s failed. This is the container as it was left; exit to go on.\r\n"


def run(op: ops.Exec, work: Work) -> Result:
    """Run the process; its exit code must be one that is expected."""
    with contextlib.ExitStack() as stack:
        stage = _Stage(op=op, work=work, stack=stack)
        container = stage.container()
        joined = stack.enter_context(work.bench.hosting.joined(op, container, work.cancel))
        outcome = stack.enter_context(
            work.bench.runtime().run(
                joined.container,
                on_output=work.step.write,
                cancel=work.cancel,
                watch=joined.failure,
            )
        )
        if outcome.code:
            work.bench.store.require_space(describe(op))
        if not expected(op.expect, outcome.code):
            _look_around(work.bench, joined.container)
            raise failure(op.args, outcome)
        return stage.result(outcome)


def _look_around(bench: Bench, container: spec.ContainerSpec) -> None:
    """Let the user into the container of a process that failed, with all that it left."""
    if not bench.interactive or not bench.terminal.exists():
        return
    layered = [mount.overlay for mount in container.mounts if isinstance(mount, spec.LayerMount)]
    for overlay in (container.rootfs, *layered):
        if overlay.work is not None:  # a volatile overlay's own refuses a second mount
            remove_tree(overlay.work)
            overlay.work.mkdir()
    shell = replace(
        container,
        args=bench.interactive,
        stdin=None,
        redirect_stdin=None,
        redirect_stdout=None,
        redirect_stderr=None,
    )
    with bench.terminal.lent() as terminal:
        os.write(terminal, _INVITATION % shlex.join(container.args).encode())
        run_on_terminal(bench.runtime(), shell, terminal)


def staged(op: ops.Exec, work: Work, stack: contextlib.ExitStack) -> spec.ContainerSpec:
    """The container of an op, for a process that leaves no result.

    The stack takes away what it needs.
    """
    return _Stage(op=op, work=work, stack=stack).container()


def expected(expect: str, code: int) -> bool:
    """Whether an exit code is a value; death by signal never is."""
    if code in _SIGNALS:
        return False
    match expect:
        case "ANY":
            return True
        case "FAILURE":
            return code != 0
        case _:
            return code == 0


def failure(args: tuple[str, ...], outcome: Outcome) -> ExecError:
    """The error of an exec, with the end of its outputs."""
    return ExecError(
        command=args,
        code=outcome.code,
        stdout=_ending(outcome.stdout),
        stderr=_ending(outcome.stderr),
    )


def _ending(output: Output) -> str:
    if output.size <= _ERROR_BYTES:
        return output.read().decode(errors="replace").strip()
    note = f"[omitting {output.size - _ERROR_BYTES} bytes]..."
    return note + output.tail(_ERROR_BYTES - len(note)).decode(errors="replace").strip()


@dataclass(slots=True, eq=False, kw_only=True)
class _Stage:
    """What one exec needs while it runs; everything is given back when the stack unwinds."""

    op: ops.Exec
    work: Work
    stack: contextlib.ExitStack
    root: Draft | None = None
    drafts: dict[int, Draft] = field(default_factory=dict)
    secrets: list[bytes] = field(default_factory=list)

    def container(self) -> spec.ContainerSpec:
        """The container to run."""
        op, bench = self.op, self.work.bench
        root, self.root = self._overlay(self.work.layers(op.rootfs))
        mounts = tuple(self._mount(index, mount) for index, mount in enumerate(op.mounts))
        env = (
            *op.env,
            *op.volatile,
            *((name, self._secret(ref).decode(errors="replace")) for name, ref in op.secret_env),
        )
        if op.nesting:
            env = (*env, *bench.nested.items())
        return spec.ContainerSpec(
            rootfs=root,
            args=op.args,
            env=env,
            cwd=op.cwd or "/",
            user=op.user,
            mounts=mounts,
            stdin=None if op.stdin is None else op.stdin.encode(),
            redirect_stdin=op.redirect_stdin,
            redirect_stdout=op.redirect_stdout,
            redirect_stderr=op.redirect_stderr,
            privileged=op.privileged,
            hostname=uuid.uuid4().hex if op.privileged else spec.HOSTNAME,
            init=op.init,
            secrets=tuple(self.secrets),
        )

    def result(self, outcome: Outcome) -> Result:
        """Keep what the process left."""
        mounts = tuple(self._kept(index, mount) for index, mount in enumerate(self.op.mounts))
        assert self.root is not None
        layers = (
            *self.work.bench.flat(self.work.layers(self.op.rootfs)),
            self.root.commit(self.work.key),
        )
        return Result(
            layers=layers,
            mounts=mounts,
            code=outcome.code,
            stdout=self._text(outcome.stdout),
            stderr=self._text(outcome.stderr),
            combined=self._text(outcome.combined),
        )

    def _overlay(self, layers: tuple[str, ...]) -> tuple[spec.Overlay, Draft]:
        bench = self.work.bench
        draft = self.stack.enter_context(bench.store.snapshots.draft())
        below = bench.store.tree(bench.flat(layers))
        Writer(below, draft.fs)  # gives the new layer's root the looks of the root below it
        return spec.Overlay(lower=below.layers, upper=draft.fs, work=draft.work), draft

    def _mount(self, index: int, mount: ops.Mount) -> spec.Mount:
        match mount:
            case ops.DirectoryMount() | ops.FileMount():
                overlay, self.drafts[index] = self._overlay(self.work.layers(mount.source))
                return spec.LayerMount(
                    target=mount.target,
                    overlay=overlay,
                    subpath=mount.path,
                    readonly=mount.readonly,
                )
            case ops.CacheMount():
                return self._volume(mount)
            case ops.TemporaryMount():
                return spec.Tmpfs(target=mount.target, size=mount.size)
            case ops.SecretMount():
                data = self._secret(mount.secret)
                return spec.SecretFile(
                    target=mount.target, data=data, owner=mount.owner, mode=mount.mode
                )
            case ops.SocketMount():
                return spec.Bind(target=mount.target, source=Path(mount.host_path))

    def _volume(self, mount: ops.CacheMount) -> spec.Volume:
        volumes = self.work.bench.store.volumes
        place = (
            volumes.volume(mount.volume)
            if mount.seed is None
            else self._seeded(mount.volume, mount.seed, mount.seed_path)
        )
        if mount.sharing != "SHARED":
            self.stack.enter_context(volumes.locked(mount.volume, cancel=self.work.cancel))
        return spec.Volume(target=mount.target, source=place, owner=mount.owner)

    def _seeded(self, volume: str, seed: ops.Op, path: str) -> Path:
        tree = self.work.tree(seed)
        root = tree.lookup(path).stat

        def fill(place: Path) -> None:
            Writer(Tree(()), place).copy(tree, path, "/", share=False)

        return self.work.bench.store.volumes.volume(
            volume, seed=fill, owner=(root.st_uid, root.st_gid), mode=stat.S_IMODE(root.st_mode)
        )

    def _secret(self, ref: ops.SecretRef) -> bytes:
        value = self.work.bench.secret(ref.identity)
        self.secrets.append(value)
        return value

    def _kept(self, index: int, mount: ops.Mount) -> tuple[str, ...]:
        if not isinstance(mount, ops.DirectoryMount | ops.FileMount):
            return ()
        below = self.work.layers(mount.source)
        draft = self.drafts[index]
        if mount.readonly or not any(draft.fs.iterdir()):
            return below
        return (*self.work.bench.flat(below), draft.commit(f"{self.work.key}-m{index}"))

    def _text(self, output: Output) -> Text:
        if output.size <= INLINE_BYTES:
            return Text(inline=output.read().decode(errors="replace"))
        with self.work.bench.store.blobs.writer() as writer:
            reader = output.reader()
            while chunk := reader.read(1 << 20):
                writer.write(chunk)
            return Text(blob=writer.commit().digest)
