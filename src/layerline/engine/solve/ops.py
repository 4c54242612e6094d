"""The ops: every step that makes or changes files, as frozen values.

An op's key is a pure function of its arguments and its parents' keys (`keys.Keyed`). Evaluating an
op gives a tree: an ordered tuple of snapshots. Paths are absolute inside the tree unless said
otherwise; owners are texts (`user[:group]`, names or numbers); names are looked up in the tree that
is changed, unless `names` says another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from layerline.engine.solve.keys import SPARSE, WRITTEN, Keyed, keyed_document, register, wire

if TYPE_CHECKING:
    from layerline.engine.solve.service_definitions import ServiceBinding


class Op(Keyed):
    """A step. Its parents are the ops among its fields."""


@register("Scratch")
@dataclass(frozen=True, kw_only=True)
class Scratch(Op):
    """The empty tree."""


@register("Stored")
@dataclass(frozen=True, kw_only=True)
class Stored(Op):
    """Files in the store, known by their content: a base image, a host directory.

    `digest` alone is the identity: where the files came from and how they are cut into snapshots is
    not.
    """

    digest: str
    snapshots: tuple[str, ...]

    def identity(self) -> Any:
        """Equal content, equal key."""
        return ["Stored", self.digest]


@register("Names")
@dataclass(frozen=True, kw_only=True)
class Names:
    """Whose etc/passwd and etc/group know an owner's name: those below `path` of `tree`."""

    tree: Op
    path: str = "/"


@register("NewFile")
@dataclass(frozen=True, kw_only=True)
class NewFile(Op):
    """A file with these bytes.

    `keep_mode` keeps the mode of an existing file (as Directory.withNewFile does).
    """

    base: Op
    path: str
    data: bytes
    mode: int = 0o644
    owner: str = ""
    keep_mode: bool = False
    names: Names | None = None


@register("NewDirectory")
@dataclass(frozen=True, kw_only=True)
class NewDirectory(Op):
    """A directory, and the parents that are missing."""

    base: Op
    path: str
    mode: int = 0o755


@register("Symlink")
@dataclass(frozen=True, kw_only=True)
class Symlink(Op):
    """A symbolic link; an error where the path exists."""

    base: Op
    target: str
    path: str


@register("Remove")
@dataclass(frozen=True, kw_only=True)
class Remove(Op):
    """Paths taken away, each of which may hold wildcards; a missing one is ignored."""

    base: Op
    paths: tuple[str, ...]
    root: str = "/"


@register("CopyDirectory")
@dataclass(frozen=True, kw_only=True)
class CopyDirectory(Op):
    """The content of a directory merged into another.

    Moby patterns and .gitignore files filter it; `mode` is for everything copied.
    """

    base: Op
    path: str
    source: Op
    source_path: str = "/"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    gitignore: bool = False
    owner: str = ""
    mode: int | None = None
    names: Names | None = None

    @property
    def is_filtered(self) -> bool:
        """Whether only a part of the directory may be copied."""
        return bool(self.include or self.exclude or self.gitignore)


@register("CopyFile")
@dataclass(frozen=True, kw_only=True)
class CopyFile(Op):
    """One file; into `path` under `name` if that is a directory or ends in a slash."""

    base: Op
    path: str
    source: Op
    source_path: str
    name: str
    mode: int | None = None
    owner: str = ""
    names: Names | None = None


@register("Placed")
@dataclass(frozen=True, kw_only=True)
class DockerfileCopy(Op):
    """`base` with what `patterns` match in `source` placed at `destination`, as COPY does it.

    A directory's content is merged in; a file goes under its name into a destination that is a
    directory or ends in a slash. Patterns are absolute. `owner` gets all that is copied and made;
    without one, what is copied keeps its owner. `mode` is octal or symbolic, empty for the
    source's. With `parents` the directories above a match come along, those below `/./` in its
    pattern. With `unpack` archives are unpacked, by the `rules` of that version.
    """

    base: Op
    destination: str
    source: Op
    patterns: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    owner: str = ""
    mode: str = ""
    parents: bool = False
    unpack: bool = False
    rules: int = field(default=0, metadata=SPARSE)

    @property
    def takes_all(self) -> bool:
        """Whether it copies all of the source, as `COPY . .` does."""
        return self.patterns == ("/",) and not (self.exclude or self.parents)


@register("Chown")
@dataclass(frozen=True, kw_only=True)
class Chown(Op):
    """Another owner for a path and all below it."""

    base: Op
    path: str
    owner: str
    names: Names | None = None


@register("Timestamps")
@dataclass(frozen=True, kw_only=True)
class Timestamps(Op):
    """One modification time (seconds since the epoch) for a path and all below it."""

    base: Op
    path: str
    timestamp: int


@register("Replaced")
@dataclass(frozen=True, kw_only=True)
class Replaced(Op):
    """A file with a text replaced: the only match, all, or the first from a line (1-based) on."""

    base: Op
    path: str
    search: str
    replacement: str
    everywhere: bool = False
    first_from: int | None = None


@register("Diff")
@dataclass(frozen=True, kw_only=True)
class Diff(Op):
    """What `other` has that `base` has not, or has otherwise; removals are not shown."""

    base: Op
    base_path: str
    other: Op
    other_path: str


@register("Changed")
@dataclass(frozen=True, kw_only=True)
class Changed(Op):
    """`base` with the changes from `before` to `after` applied, removals too."""

    base: Op
    path: str
    before: Op
    before_path: str
    after: Op
    after_path: str


@register("Patched")
@dataclass(frozen=True, kw_only=True)
class Patched(Op):
    """`base` with a unified diff applied at `path`."""

    base: Op
    path: str
    patch: bytes


@register("ChangesPatch")
@dataclass(frozen=True, kw_only=True)
class ChangesPatch(Op):
    """The file `diff.patch`: a unified diff from `before` to `after`."""

    before: Op
    before_path: str
    after: Op
    after_path: str


@register("SecretRef")
@dataclass(frozen=True, kw_only=True)
class SecretRef:
    """A secret by its identity; the plaintext is asked from the session when it is needed."""

    identity: str
    name: str = ""


@register("DirectoryMount")
@dataclass(frozen=True, kw_only=True)
class DirectoryMount:
    """A directory of a tree at `target`; writes stay with the mount."""

    target: str
    source: Op
    path: str = "/"
    readonly: bool = False
    owner: str = ""


@register("FileMount")
@dataclass(frozen=True, kw_only=True)
class FileMount:
    """A file of a tree at `target`; writes stay with the mount."""

    target: str
    source: Op
    path: str
    readonly: bool = False
    owner: str = ""


@register("CacheMount")
@dataclass(frozen=True, kw_only=True)
class CacheMount:
    """A cache volume at `target`.

    `volume` is its identity; `sharing` is SHARED, PRIVATE or LOCKED.
    """

    target: str
    volume: str
    sharing: str = "SHARED"
    owner: str = ""
    seed: Op | None = None
    seed_path: str = "/"


@register("TemporaryMount")
@dataclass(frozen=True, kw_only=True)
class TemporaryMount:
    """A tmpfs at `target`, of `size` bytes at most."""

    target: str
    size: int | None = None


@register("SecretMount")
@dataclass(frozen=True, kw_only=True)
class SecretMount:
    """A secret as a file at `target`."""

    target: str
    secret: SecretRef
    owner: str = ""
    mode: int = 0o400


@register("SocketMount")
@dataclass(frozen=True, kw_only=True)
class SocketMount:
    """A unix socket of the host at `target`."""

    target: str
    host_path: str
    owner: str = ""


Mount = DirectoryMount | FileMount | CacheMount | TemporaryMount | SecretMount | SocketMount


@register("Exec")
@dataclass(frozen=True, kw_only=True)
class Exec(Op):
    """A process run in a container over `rootfs`.

    Gives a new rootfs, the mounts as they are after it, and outputs.

    `expect` is SUCCESS, FAILURE or ANY. The process sees `volatile` variables, `proxies` and the
    nested session; of them only the names of volatile variables are in the key, as on the Dagger
    engine (for a Dockerfile's proxies not even these, as in BuildKit). What a `guest` asked for,
    code that is not the user's own, is privileged over its own namespaces alone.
    """

    rootfs: Op
    argv: tuple[str, ...] = field(metadata=wire("args"))
    env: tuple[tuple[str, str], ...] = ()
    secret_env: tuple[tuple[str, SecretRef], ...] = ()
    cwd: str = ""
    user: str = ""
    mounts: tuple[Mount, ...] = ()
    bindings: tuple[ServiceBinding, ...] = ()
    stdin: str | None = None
    redirect_stdin: str | None = None
    redirect_stdout: str | None = None
    redirect_stderr: str | None = None
    expect: str = "SUCCESS"
    privileged: bool = False
    nesting: bool = False
    init: bool = True
    platform: str = ""
    volatile: tuple[tuple[str, str], ...] = field(default=(), metadata=WRITTEN)
    proxies: tuple[tuple[str, str], ...] = field(default=(), metadata=WRITTEN)
    guest: bool = field(default=False, metadata=WRITTEN)
    gpus: tuple[str, ...] = field(default=(), metadata=SPARSE)

    def identity(self) -> Any:
        """The names of volatile variables count, their values do not."""
        names = sorted(name for name, _ in self.volatile)
        return {**keyed_document(self), "volatile": names}


@register("ExecRootfs")
@dataclass(frozen=True, kw_only=True)
class ExecRootfs(Op):
    """The root file system after an exec."""

    exec: Exec


@register("ExecMount")
@dataclass(frozen=True, kw_only=True)
class ExecMount(Op):
    """The files of mount number `index` after an exec."""

    exec: Exec
    index: int
