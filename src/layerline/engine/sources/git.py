"""Git repositories as sources of files: their refs listed, commits checked out into layers.

Invariant: of a repository given as files, only objects and refs are used, never its settings, hooks
or links: it cannot make git run or read anything else.
"""

from __future__ import annotations

import fnmatch
import os
import posixpath
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.engine.store.epoch import EPOCH
from layerline.engine.store.rmtree import remove_tree
from layerline.engine.store.writer import CopyOptions, Writer
from layerline.engine.trees import git_program
from layerline.errors import CommandFailed, QueryError
from layerline.patterns import Decision

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from layerline.engine.store.store import Store
    from layerline.engine.trees.tree_diff import TreeDirectory

HEADS = "refs/heads/"
TAGS = "refs/tags/"
_UNREACHABLE = "unable to access"  # git-remote-curl(1), in the words of remote-curl.c
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PEELED = "^{}"
_BARE = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"
_UNTRUSTED = frozenset({"config", "config.worktree", "hooks", "commondir", "gitdir", "modules"})
_ALTERNATES = ("objects/info/alternates", "objects/info/http-alternates")
_TRACES = ("FETCH_HEAD", "ORIG_HEAD", "logs", "branches", "description")
_VERSION = re.compile(r"v(\d+)(?:\.(\d+)(?:\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?)?)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """The URL or path of a repository, and environment variables with credentials."""

    address: str
    env: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Ref:
    """A commit and its full ref name, empty when it was given by hash."""

    name: str
    commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refs:
    """The refs of a repository: commits by full name, tags peeled; `head` is the target of HEAD."""

    commits: Mapping[str, str]
    head: str | None

    def lookup(self, name: str) -> Ref:
        """Resolve a name; branches take precedence over tags."""
        if name == "HEAD" and "HEAD" in self.commits:
            return Ref(self.head or "HEAD", self.commits["HEAD"])
        if is_commit(name):
            return Ref("", name)
        for prefix in ("refs/", HEADS, TAGS):
            full = prefix + name.removeprefix(prefix)
            if full in self.commits:
                return Ref(full, self.commits[full])
        message = f'repository does not contain ref "{name}"'
        raise QueryError(message)

    def names(self, prefix: str, patterns: Sequence[str]) -> list[str]:
        """The short names below a prefix that match a pattern, as `git ls-remote` does."""
        return [
            name.removeprefix(prefix)
            for name in self.commits
            if name.startswith(prefix)
            and (not patterns or any(fnmatch.fnmatchcase(f"/{name}", f"*/{p}") for p in patterns))
        ]

    def latest_version(self) -> Ref:
        """The tag with the highest version."""
        tags = [tag for tag in self.names(TAGS, ()) if _VERSION.fullmatch(tag)]
        if not tags:
            message = "no valid semver tags found"
            raise QueryError(message)
        return self.lookup(TAGS + max(tags, key=_precedence))


def is_commit(text: str) -> bool:
    """Whether a text is the full hash of a commit."""
    return _COMMIT.fullmatch(text) is not None


def list_refs(store: Store, remote: Remote) -> Refs:
    """List the refs of a repository."""
    with git_program.workspace(store) as work:
        try:
            done = git_program.run(
                ["ls-remote", "--symref", "--", remote.address], cwd=work, env=remote.env
            )
        except CommandFailed as exc:
            said = exc.stderr.strip()
            hint = "; check the address and the network" if _UNREACHABLE in said else ""
            message = f"failed to list the refs of {remote.address}: {said}{hint}"
            raise QueryError(message) from exc
    commits: dict[str, str] = {}
    head: str | None = None
    for line in os.fsdecode(done.stdout).splitlines():
        value, _, name = line.partition("\t")
        if value.startswith("ref: "):
            head = value.removeprefix("ref: ") if name == "HEAD" else head
        else:
            commits[name.removesuffix(_PEELED)] = value
    return Refs(commits=commits, head=head)


def checkout(remote: Remote, ref: Ref, target: Path, *, depth: int, tags: bool, keep: bool) -> None:
    """Check out a commit into an empty directory; `keep` leaves the repository in it."""
    git_program.run(["init", "--quiet", "--template="], cwd=target)
    _fetch(remote, ref, target, depth=depth)
    if tags:
        _git_fetch(remote, f"{TAGS}*:{TAGS}*", target, depth=depth)
    branch = ref.name.removeprefix(HEADS) if ref.name.startswith(HEADS) else None
    there = ["-B", branch] if branch else ["--detach"]
    git_program.run(["checkout", "--quiet", "--force", *there, ref.commit], cwd=target)
    if not keep:
        remove_tree(target / ".git")
    elif "://" in remote.address:
        git_program.run(["remote", "add", "origin", remote.address], cwd=target)
    for name in _TRACES:
        remove_tree(target / ".git" / name)
    _settle(target)


def _fetch(remote: Remote, ref: Ref, target: Path, *, depth: int) -> None:
    """Fetch a commit by its hash, or by its ref from a server that requires it."""
    try:
        _git_fetch(remote, ref.commit, target, depth=depth)
    except CommandFailed:
        if not ref.name:
            raise
        _git_fetch(remote, ref.name, target, depth=depth)


def _git_fetch(remote: Remote, what: str, target: Path, *, depth: int) -> None:
    history = ["--depth", str(depth)] if depth > 0 else []
    argv = ["fetch", "--quiet", "--no-tags", *history, "--", remote.address, what]
    git_program.run(argv, cwd=target, env=remote.env)


def _settle(target: Path) -> None:
    """Normalise modes and times, which depend on when and by whom it was checked out."""
    for path in target.rglob("*"):
        if not path.is_symlink():
            plain = path.is_file() and not path.stat().st_mode & 0o100
            path.chmod(0o644 if plain else 0o755)
        os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)


def merge_base(store: Store, one: tuple[Remote, Ref], other: tuple[Remote, Ref]) -> str:
    """The best common ancestor of two commits."""
    with git_program.workspace(store) as work:
        git_program.run(["init", "--quiet", "--bare", "--template="], cwd=work)
        for remote, ref in (one, other):
            _fetch(remote, ref, work, depth=0)
        done = git_program.run(
            ["merge-base", one[1].commit, other[1].commit], cwd=work, expect=(0, 1)
        )
    if done.status != 0:
        message = f"{one[1].commit} and {other[1].commit} have no common ancestor"
        raise QueryError(message)
    return done.stdout.decode().strip()


def extract(store: Store, place: TreeDirectory, target: Path) -> None:
    """Copy the objects and refs of a directory's repository into a bare one on disk."""
    root = place.entry()
    inner = place.tree.child(root, ".git")
    source = inner.path if inner is not None and inner.is_dir else root.path
    if place.tree.find(posixpath.join(source, "objects")) is None:
        message = f"not a git repository: {place.path} holds no .git directory"
        raise QueryError(message)
    target.mkdir()
    copy = Writer(store.tree(()), target)
    copy.copy(place.tree, source, "/", CopyOptions(path_filter=_keep_trusted, share=False))
    for entry in [entry for entry in copy.view.walk() if entry.is_symlink]:
        Path(entry.location).unlink()
    (target / "config").write_text(_BARE)


def _keep_trusted(path: str, *, is_dir: bool) -> Decision:  # noqa: ARG001  as a walk asks
    refused = path.split("/", 1)[0] in _UNTRUSTED or path in _ALTERNATES
    return Decision.DROP if refused else Decision.KEEP


def copy_files(store: Store, place: TreeDirectory, target: Path) -> None:
    """Copy the files of a directory to disk, unshared with its layers: git writes to them."""
    Writer(store.tree(()), target).copy(place.tree, place.path, "/", CopyOptions(share=False))


def restore(repository: Path, work: Path) -> None:
    """Reset a directory to HEAD, and remove untracked files that are not ignored."""
    env = {"GIT_DIR": str(repository), "GIT_WORK_TREE": str(work)}
    (repository / "config").write_text(_BARE.replace("true", "false"))
    for argv in (["reset", "--quiet", "--hard", "HEAD"], ["clean", "-fdq", "--exclude=.git"]):
        git_program.run(argv, cwd=work, env=env)


def _precedence(tag: str) -> tuple[object, ...]:
    """The sort key of a semantic version, https://semver.org/#spec-item-11."""
    match = _VERSION.fullmatch(tag)
    assert match is not None
    numbers = tuple(int(part or 0) for part in match.group(1, 2, 3))
    return numbers, match[4] is None, tuple(_identifiers(match[4] or ""))


def _identifiers(prerelease: str) -> Iterator[tuple[bool, int, str]]:
    for part in filter(None, prerelease.split(".")):
        yield (not part.isdigit(), int(part) if part.isdigit() else 0, part)
