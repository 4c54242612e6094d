"""What a container needs before it starts: overlays, mounts, volumes and secrets of an exec's op.

Below its two users: the step that runs an exec, and the services.
"""

from __future__ import annotations

import stat
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.engine.image.layer_import import RECEIVED
from layerline.engine.runtime import spec
from layerline.engine.runtime.confined_process import ConfinedProcess
from layerline.engine.solve import ops
from layerline.engine.solve.result import INLINE_BYTES, Result, Text
from layerline.engine.store.digest import digest_of
from layerline.engine.store.tree import Tree
from layerline.engine.store.writer import CopyOptions, Writer
from layerline.scrub import SecretMasks

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Mapping

    from layerline.engine.runtime.spec import ExecOutcome, Output
    from layerline.engine.solve.step_context import SolveContext, StepContext
    from layerline.engine.store.snapshots import Draft


@dataclass(slots=True, eq=False, kw_only=True)
class ContainerStage:
    """What one exec needs while it runs; everything is released when `stack` unwinds.

    `container` prepares it, `result` keeps what the process left.
    """

    op: ops.Exec
    step: StepContext
    stack: contextlib.ExitStack
    root: Draft | None = None
    drafts: dict[int, Draft] = field(default_factory=dict)
    secrets: list[bytes] = field(default_factory=list)

    def container(self) -> spec.ContainerSpec:
        """The container to run."""
        op, context = self.op, self.step.context
        root, self.root = self._overlay(self.step.layers(op.rootfs))
        mounts = tuple(self._mount(index, mount) for index, mount in enumerate(op.mounts))
        env = (
            *op.env,
            *op.volatile,
            *op.proxies,
            *((name, self._secret(ref).decode(errors="replace")) for name, ref in op.secret_env),
        )
        process = None
        loopback: tuple[int, ...] = ()
        if op.nesting and context.nested is not None:
            process = ConfinedProcess(environ=dict(env), cwd=op.cwd or "/")
            variables = self.stack.enter_context(
                context.nested.admit_container(process, scope=self.step.key)
            )
            env = (*env, *variables.items())
            loopback = (int(variables["DAGGER_SESSION_PORT"]),)
        return context.with_loopback(
            spec.ContainerSpec(
                rootfs=root,
                argv=op.argv,
                env=env,
                cwd=op.cwd or "/",
                user=op.user,
                mounts=mounts,
                stdin=None if op.stdin is None else op.stdin.encode(),
                redirect_stdin=op.redirect_stdin,
                redirect_stdout=op.redirect_stdout,
                redirect_stderr=op.redirect_stderr,
                privileged=op.privileged,
                guest=op.guest,
                hostname=uuid.uuid4().hex if op.privileged else spec.HOSTNAME,
                init=op.init,
                secrets=tuple(self.secrets),
                loopback=loopback,
                process=process,
                gpus=op.gpus,
            )
        )

    def result(self, outcome: ExecOutcome) -> Result:
        """Keep what the process left."""
        mounts = tuple(
            self._commit_mount(index, mount) for index, mount in enumerate(self.op.mounts)
        )
        assert self.root is not None
        layers = (
            *self.step.context.flat(self.step.layers(self.op.rootfs)),
            self.root.commit(self.step.key),
        )
        stdout, stderr = self._text(outcome.stdout), self._text(outcome.stderr)
        if outcome.combined.is_copy(outcome.stdout):
            combined = stdout
        elif outcome.combined.is_copy(outcome.stderr):
            combined = stderr
        else:
            combined = self._text(outcome.combined)
        return Result(
            layers=layers,
            mounts=mounts,
            code=outcome.code,
            stdout=stdout,
            stderr=stderr,
            combined=combined,
        )

    def _overlay(self, layers: tuple[str, ...]) -> tuple[spec.Overlay, Draft]:
        context = self.step.context
        draft = self.stack.enter_context(context.store.snapshots.draft())
        below = context.store.tree(context.flat(layers))
        Writer(below, draft.fs)  # gives the new layer's root the looks of the root below it
        return spec.Overlay(lower=below.layers, upper=draft.fs, work=draft.work), draft

    def _mount(self, index: int, mount: ops.Mount) -> spec.Mount:
        match mount:
            case ops.DirectoryMount() | ops.FileMount():
                overlay, self.drafts[index] = self._overlay(self.step.layers(mount.source))
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
                return spec.Socket(
                    target=mount.target, host=Path(mount.host_path), owner=mount.owner
                )

    def _volume(self, mount: ops.CacheMount) -> spec.Volume:
        volumes = self.step.context.store.volumes
        source = (
            volumes.volume(mount.volume)
            if mount.seed is None
            else self._seed_volume(mount.volume, mount.seed, mount.seed_path)
        )
        if mount.sharing != "SHARED":
            self.stack.enter_context(volumes.lock(mount.volume, cancel=self.step.cancel))
        return spec.Volume(target=mount.target, source=source, owner=mount.owner)

    def _seed_volume(self, volume: str, seed: ops.Op, path: str) -> Path:
        tree = self.step.tree(seed)
        root = tree.lookup(path).stat

        def fill(directory: Path) -> None:
            Writer(Tree(()), directory).copy(tree, path, "/", CopyOptions(share=False))

        return self.step.context.store.volumes.volume(
            volume, seed=fill, owner=(root.st_uid, root.st_gid), mode=stat.S_IMODE(root.st_mode)
        )

    def _secret(self, ref: ops.SecretRef) -> bytes:
        value = self.step.context.secret(ref.identity)
        self.secrets.append(value)
        return value

    def _commit_mount(self, index: int, mount: ops.Mount) -> tuple[str, ...]:
        if not isinstance(mount, ops.DirectoryMount | ops.FileMount):
            return ()
        below = self.step.layers(mount.source)
        draft = self.drafts[index]
        if mount.readonly or not any(draft.fs.iterdir()):
            return below
        name = _mount_layer(self.step.key, index, mount)
        return (*self.step.context.flat(below), draft.commit(name))

    def _masks(self) -> SecretMasks:
        masks = SecretMasks()
        for value in self.secrets:
            masks.add(value)
        return masks

    def _text(self, output: Output) -> Text:
        """An output for the index, or for a blob if it is large or has another form of a secret.

        The value as it stands is masked already, as in the Dagger engine; answers have other forms.
        """
        if output.size <= INLINE_BYTES:
            text = output.read().decode(errors="replace")
            if not self._masks().holds(text):
                return Text(inline=text)
        with self.step.context.store.blobs.writer() as writer:
            reader = output.reader()
            while chunk := reader.read(1 << 20):
                writer.write(chunk)
            return Text(blob=writer.commit().digest)


def adopt(
    op: ops.Op, known: Result, inputs: Mapping[str, Result], context: SolveContext
) -> Result | None:
    """The result of an operation from one of the same identity; None if it cannot be used.

    What an exec wrote to a mount is placed over the files that are mounted here. For that they have
    to be at the same path in their tree.
    """
    if not isinstance(op, ops.Exec):
        return known
    mounts: list[tuple[str, ...]] = []
    for index, (mount, left) in enumerate(zip(op.mounts, known.mounts, strict=True)):
        if not isinstance(mount, ops.DirectoryMount | ops.FileMount):
            mounts.append(())
            continue
        below = inputs[mount.source.key].layers
        name = _mount_layer(known.identity, index, mount)
        if known.written is not None:
            if known.written[index] not in ("", _path_digest(mount)):
                return None
            below = (*context.flat(below), *left) if left else below
        elif left[-1:] == (name,):
            below = (*context.flat(below), name)
        elif left and left[-1].startswith(_mount_prefix(known.identity, index)):
            return None
        mounts.append(below)
    return replace(known, mounts=tuple(mounts), written=None)


def written_to_mounts(op: ops.Exec, result: Result) -> Result | None:
    """A result with what the exec wrote to its mounts alone, for a machine with other files.

    None where that is not known: of what another machine gave, layers have other names.
    """
    if result.written is not None:
        return result
    if any(left and left[-1].startswith(("layer-", RECEIVED)) for left in result.mounts):
        return None
    mounts: list[tuple[str, ...]] = []
    written: list[str] = []
    for index, (mount, left) in enumerate(zip(op.mounts, result.mounts, strict=True)):
        is_layer = bool(left) and left[-1].startswith(_mount_prefix(result.identity, index))
        if is_layer and isinstance(mount, ops.DirectoryMount | ops.FileMount):
            mounts.append(left[-1:])
            written.append(_path_digest(mount))
        else:
            mounts.append(())
            written.append("")
    return replace(result, mounts=tuple(mounts), written=tuple(written))


def _mount_layer(key: str, index: int, mount: ops.DirectoryMount | ops.FileMount) -> str:
    """The name of the layer that an exec writes over a mount: it depends on the mounted path."""
    return _mount_prefix(key, index) + _path_digest(mount)


def _path_digest(mount: ops.DirectoryMount | ops.FileMount) -> str:
    return digest_of(mount.path)[:16]


def _mount_prefix(key: str, index: int) -> str:
    return f"{key}-m{index}-"
