"""Git repositories and refs: at a URL, on the caller's disk, or in a directory of the engine."""

from __future__ import annotations

import base64
import itertools
import posixpath
import shlex
import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from layerline import user_namespace
from layerline.engine.api.fields import field
from layerline.engine.api.host_paths import host_path
from layerline.engine.api.objects import Changeset, Directory, Query, Secret, Service, Value
from layerline.engine.api.resolvers.http import service_of, through
from layerline.engine.api.tree_access import tree_of
from layerline.engine.solve import ops
from layerline.engine.solve.keys import identity_of, register
from layerline.engine.sources import git as git_source
from layerline.engine.sources.git import HEADS, TAGS, Ref, Refs, Remote
from layerline.engine.store.digest import digest_of
from layerline.engine.trees.tree_diff import TreeDirectory
from layerline.errors import NotSupported, QueryError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from layerline.engine.api.session import Call
    from layerline.engine.image.registry.reach import Reach

# Options of ssh(1). The user's settings lead to no other host than the one that was checked, and
# code that is not the user's own has neither these nor the user's keys.
_NO_DETOUR = ("-oProxyCommand=none", "-oProxyJump=none", "-oCanonicalizeHostname=no")
_NO_KEYS = ("-Fnone", "-oIdentityFile=none", "-oIdentityAgent=none")
_GIT_PORTS = {"http": 80, "https": 443, "ssh": 22, "git": 9418}
_LOCAL = ("/", "./", "../", "~", "file://")
_TOKEN_USER = "x-access-token"
_NUMBERS = itertools.count(1)


@register("GitRepository")
@dataclass(frozen=True, kw_only=True)
class GitRepository(Value):
    """A repository at `address`, a URL or a path of the host, or in a directory (`source`)."""

    typename: ClassVar[str] = "GitRepository"
    url: str | None = None
    address: str = ""
    source: Directory | None = None
    username: str = ""
    token: Secret | None = None
    header: Secret | None = None
    keep_git_dir: bool = True
    service: Service | None = None


@register("GitRef")
@dataclass(frozen=True, kw_only=True)
class GitRef(Value):
    """A commit of a repository; `name` is the full ref that led to it, if one did."""

    typename: ClassVar[str] = "GitRef"
    repository: GitRepository
    name: str
    commit: str


def is_git_url(text: str) -> bool:
    """Whether a text is the URL of a remote repository rather than a path."""
    if "://" in text:
        return urlsplit(text).scheme in _GIT_PORTS
    host, colon, path = text.partition(":")
    return bool(colon and path and "@" in host and "/" not in host)


@field("Query", "git", differs="submodules are not fetched; a local path is accepted too")
def git(
    _self: Query,
    call: Call,
    *,
    url: str,
    keep_git_dir: bool = True,
    http_auth_username: str = "",
    http_auth_token: Secret | None = None,
    http_auth_header: Secret | None = None,
    experimental_service_host: Service | None = None,
    **unsupported: Value | str,
) -> GitRepository:
    """A repository by its URL; without a scheme it is https, a path is one of the host."""
    for name, given in unsupported.items():
        if given:
            what = f"Query.git({name})"
            raise NotSupported(what)
    if url.startswith(_LOCAL):
        path = str(host_path(call, url.partition("#")[0]))
        return GitRepository(url=url, address=path, keep_git_dir=keep_git_dir)
    if not is_git_url(url):
        if "://" in url:
            message = f"failed to parse Git URL: {url}: unknown scheme, use https, http, ssh or git"
            raise QueryError(message)
        url = f"https://{url}"
    return GitRepository(
        url=url,
        address=url.partition("#")[0],
        username=http_auth_username,
        token=http_auth_token,
        header=http_auth_header,
        keep_git_dir=keep_git_dir,
        service=experimental_service_host,
    )


@field("Directory", "asGit")
def as_git(self: Directory, _call: Call) -> GitRepository:
    """The repository in a directory."""
    return GitRepository(source=self)


@field("GitRepository", "head")
async def head(self: GitRepository, call: Call) -> GitRef:
    """The ref that HEAD points to."""
    return await ref(self, call, name="HEAD")


@field("GitRepository", "ref")
async def ref(self: GitRepository, call: Call, *, name: str) -> GitRef:
    """A commit, tag, branch or full ref by its name."""
    return _ref(self, (await _refs(call, self)).lookup(name))


@field("GitRepository", "branch")
async def branch(self: GitRepository, call: Call, *, name: str) -> GitRef:
    """A branch by its name."""
    return await ref(self, call, name=HEADS + name.removeprefix(HEADS))


@field("GitRepository", "tag")
async def tag(self: GitRepository, call: Call, *, name: str) -> GitRef:
    """A tag by its name."""
    return await ref(self, call, name=TAGS + name.removeprefix(TAGS))


@field("GitRepository", "commit")
def commit(self: GitRepository, _call: Call, **arguments: str) -> GitRef:
    """A commit by its full hash (`id`)."""
    sha = arguments["id"]
    if not git_source.is_commit(sha):
        message = f'invalid commit SHA: "{sha}"'
        raise QueryError(message)
    return _ref(self, Ref("", sha))


@field("GitRepository", "latestVersion")
async def latest_version(self: GitRepository, call: Call) -> GitRef:
    """The tag with the highest semantic version."""
    return _ref(self, (await _refs(call, self)).latest_version())


@field("GitRepository", "tags")
async def tags(self: GitRepository, call: Call, *, patterns: list[str] | None = None) -> list[str]:
    """The names of the tags, or of those that match a pattern."""
    return (await _refs(call, self)).names(TAGS, patterns or ())


@field("GitRepository", "branches")
async def branches(
    self: GitRepository, call: Call, *, patterns: list[str] | None = None
) -> list[str]:
    """The names of the branches, or of those that match a pattern."""
    return (await _refs(call, self)).names(HEADS, patterns or ())


@field("GitRepository", "uncommitted")
async def uncommitted_changes(self: GitRepository, call: Call) -> Changeset:
    """The uncommitted changes of a directory; a repository without a working tree has none."""
    if self.source is None:
        clean = await tree(await head(self, call), call)
        return Changeset(before=clean, after=clean)
    files = await tree_of(call, self.source.tree)
    if files.find(posixpath.join(self.source.path, ".git")) is None:
        return Changeset(before=self.source, after=self.source)
    return Changeset(before=await _committed_files(call, self.source), after=self.source)


@field("GitRef", "ref")
def ref_name(self: GitRef, _call: Call) -> str:
    """The full name, or the hash if the ref was given by its commit."""
    return self.name or self.commit


@field("GitRef", "commonAncestor")
async def common_ancestor(self: GitRef, call: Call, *, other: GitRef) -> GitRef:
    """The best common ancestor of two commits."""
    sides = [
        (await _remote(call, each.repository), Ref(each.name, each.commit))
        for each in (self, other)
    ]
    session = call.session
    found = await session.solver.in_thread(git_source.merge_base, session.store, *sides)
    return _ref(self.repository, Ref("", found))


@field("GitRef", "tree", differs="submodules are not fetched; all files have one fixed time")
async def tree(
    self: GitRef,
    call: Call,
    *,
    discard_git_dir: bool = False,
    depth: int = 1,
    include_tags: bool = False,
) -> Directory:
    """The files at a commit."""
    keep = self.repository.keep_git_dir and not discard_git_dir
    kept = [self.repository.address, self.name, depth, include_tags] if keep else []
    digest = digest_of(["git tree", self.commit, kept])
    name = f"git-{digest}"
    session = call.session

    def work(remote: Remote) -> None:
        found = Ref(self.name, self.commit)
        with session.store.snapshots.draft() as draft:
            git_source.checkout(remote, found, draft.fs, depth=depth, tags=include_tags, keep=keep)
            draft.commit(name)

    async def make() -> None:
        if not session.store.snapshots.has(name):
            await session.solver.in_thread(work, await _remote(call, self.repository))

    await session.once(name, make)
    return Directory(tree=ops.Stored(digest=digest, snapshots=(name,)))


def _ref(repository: GitRepository, found: Ref) -> GitRef:
    return GitRef(repository=repository, name=found.name, commit=found.commit)


async def _refs(call: Call, repository: GitRepository) -> Refs:
    """The refs, listed once for each client: a pipeline sees one state of a remote."""
    session = call.session

    async def make() -> Refs:
        remote = await _remote(call, repository)
        return await session.solver.in_thread(git_source.list_refs, session.store, remote)

    key = f"git refs {id(call.client)} {identity_of(repository)}"
    found: Refs = await session.once(key, make)
    return found


async def _remote(call: Call, repository: GitRepository) -> Remote:
    """Where git finds a repository; one in a directory is first extracted to the disk."""
    if repository.source is not None:
        return Remote(address=str(await _extract(call, repository.source)))
    settings = {}
    service = repository.service or service_of(call, repository.address)
    if service is not None:
        repository = replace(repository, service=service)
        here, _ = await through(call, service, repository.address)
        settings[f"url.{here}.insteadOf"] = repository.address
    return await call.session.solver.in_thread(_reachable, call, repository, settings)


async def _extract(call: Call, source: Directory) -> Path:
    session = call.session
    place = TreeDirectory(await tree_of(call, source.tree), source.path)

    async def make() -> Path:
        target = session.store.scratch / f"repository-{next(_NUMBERS)}"
        await session.solver.in_thread(git_source.extract, session.store, place, target)
        return target

    path: Path = await session.once(f"git directory {identity_of(source)}", make)
    return path


def _reachable(call: Call, repository: GitRepository, config: Mapping[str, str]) -> Remote:
    """A remote with the variables that git needs to reach it; no secret is in an argument."""
    settings = call.session.settings
    env = dict(settings.proxies)
    if settings.ca_bundle is not None:
        env["GIT_SSL_CAINFO"] = str(settings.ca_bundle)
    if "SSH_AUTH_SOCK" in settings.environ and call.client.reaches_host:
        env["SSH_AUTH_SOCK"] = settings.environ["SSH_AUTH_SOCK"]
    if call.reach is None:
        # ssh looks for its files in the home of the user that it runs as.
        config = {**config, **_ssh_settings()}
    else:
        config = {**config, "http.followRedirects": "false"}
        if repository.service is None and is_git_url(repository.address):
            proxied = bool(settings.proxies)
            config |= pinned_settings(
                call.reach,
                repository.address,
                proxied=proxied,
                keys=call.client.reaches_host,
            )
    header = _authorization(call, repository)
    if header:
        config = {**config, "http.extraHeader": f"Authorization: {header}"}
    for number, (name, value) in enumerate(config.items()):
        env |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    env["GIT_CONFIG_COUNT"] = str(len(config))
    return Remote(address=repository.address, env=env)


def pinned_settings(
    reach: Reach, address: str, *, proxied: bool = False, keys: bool = False
) -> dict[str, str]:
    """Settings with which git connects to the address that was checked, and to no other.

    With `keys` ssh uses the caller's.
    A name that is not found is left to the proxy if there is one: of HTTP, ssh has none.
    """
    parts = urlsplit(address if "://" in address else f"ssh://{address.replace(':', '/', 1)}")
    host, port = parts.hostname or "", parts.port or _GIT_PORTS[parts.scheme]
    try:
        found = reach.resolve(host, port)
    except socket.gaierror as exc:
        if proxied and parts.scheme in ("http", "https"):
            return {"http.followRedirects": "false"}
        message = f"failed to list the refs of {address}: {host}: {exc.strerror}"
        raise QueryError(message) from exc
    bracketed = f"[{found}]" if ":" in found else found
    if parts.scheme == "git":
        return {f"url.git://{bracketed}:{port}/.insteadOf": f"git://{parts.netloc}/"}
    if parts.scheme == "ssh":
        # The host's keys are those of its name, which ssh looks up no more (ssh_config(5)).
        alias = host if port == _GIT_PORTS["ssh"] else f"[{host}]:{port}"
        pinned = (f"-oHostName={found}", f"-oHostKeyAlias={alias}", *_NO_DETOUR)
        return _ssh_settings(*pinned, *(() if keys else _NO_KEYS))
    return {
        "http.followRedirects": "false",
        "http.curloptResolve": f"{host}:{port}:{bracketed}",
    }


def _ssh_settings(*options: str) -> dict[str, str]:
    """What makes git run ssh with options, as the user; none where it would do so by itself."""
    ssh = user_namespace.as_caller(["ssh"])
    argv = [*map(str, ssh), *options]
    return {"core.sshCommand": shlex.join(argv), "ssh.variant": "ssh"} if len(argv) > 1 else {}


def _authorization(call: Call, repository: GitRepository) -> str:
    read = call.session.secrets.plaintext
    if repository.header is not None:
        return read(repository.header.identity).decode().strip()
    if repository.token is None:
        return ""
    user = repository.username or _TOKEN_USER
    pair = user.encode() + b":" + read(repository.token.identity).strip()
    return f"basic {base64.b64encode(pair).decode()}"


async def _committed_files(call: Call, source: Directory) -> Directory:
    """A directory without its uncommitted changes."""
    session = call.session
    files = TreeDirectory(await tree_of(call, source.tree), source.path)
    digest = digest_of(["git cleaned", identity_of(source)])
    name = f"git-{digest}"

    def work() -> None:
        repository = session.store.scratch / f"repository-{next(_NUMBERS)}"
        git_source.extract(session.store, files, repository)
        with session.store.snapshots.draft() as draft:
            git_source.copy_files(session.store, files, draft.fs)
            git_source.restore(repository, draft.fs)
            draft.commit(name)

    async def make() -> None:
        if not session.store.snapshots.has(name):
            await session.solver.in_thread(work)

    await session.once(name, make)
    return Directory(tree=ops.Stored(digest=digest, snapshots=(name,)))
