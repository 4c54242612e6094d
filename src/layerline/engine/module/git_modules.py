"""Modules in git repositories: what a reference names, and the files at its commit in the store.

Invariant: a commit is fetched once, by its hash; with a pin nothing is asked of the network.
Repositories are fetched with the caller's own credentials, and links in them lead nowhere.
"""

from __future__ import annotations

import base64
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from layerline import command, user_namespace
from layerline.engine.module.git_addresses import GitOrigin
from layerline.engine.module.source import read_fetched
from layerline.engine.sources import git as git_source
from layerline.engine.sources.git import HEADS, TAGS, Ref, Remote
from layerline.engine.store.digest import digest_of
from layerline.errors import CommandFailed, ModuleError, QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from layerline.engine.image.registry.reach import Reach
    from layerline.engine.module.git_addresses import GitReference
    from layerline.engine.module.source import ModuleConfig
    from layerline.engine.sources.git import Refs
    from layerline.engine.store.store import Store
    from layerline.settings import Settings

T = TypeVar("T")

_EPOCH = 1
_TABLE = "git-module"
_DENIED = re.compile(
    r"could not read (Username|Password)|Authentication failed|terminal prompts disabled|"
    r"HTTP Basic: Access denied|returned error: 40[13]|not found"
)
_LONGEST_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GitModules:
    """The repositories of modules, fetched into the store.

    `reach` is what the engine may connect to for module code, which has none of the caller's
    credentials; None for the caller.
    """

    store: Store
    settings: Settings
    reach: Reach | None = None
    _refs: dict[str, Refs] = field(default_factory=dict)

    def fetch(self, reference: GitReference, pin: str = "") -> ModuleConfig:
        """The module at a reference; with a pin, as it is at that commit."""
        origin = self._known(reference, pin) if pin else None
        origin = origin or self._find(reference, pin)
        digest = digest_of([_EPOCH, "git module", origin.commit])
        name = f"git-{digest}"
        if not self.store.snapshots.has(name):
            self._checkout(origin, name)
        document: dict[str, object] = {
            "repository": origin.repository,
            "subpath": origin.subpath,
            "version": origin.version,
        }
        key = digest_of([reference.text, origin.commit])
        if self.store.index.get(_TABLE, key) is None:
            self.store.index.put(_TABLE, key, document, snapshots=[name])
        return read_fetched(self.store.snapshots.path(name), origin)

    def _known(self, reference: GitReference, pin: str) -> GitOrigin | None:
        """What the store knows of a commit: where the repository ended."""
        row = self.store.index.get(_TABLE, digest_of([reference.text, pin]))
        if row is None:
            return None
        return GitOrigin(
            reference=reference.text,
            repository=str(row["repository"]),
            subpath=str(row["subpath"]),
            version=str(row["version"]),
            commit=pin,
        )

    def _find(self, reference: GitReference, pin: str) -> GitOrigin:
        failure: ModuleError | None = None
        for address, subpath in reference.candidates():
            try:
                refs = self._list(address)
            except ModuleError as exc:
                failure = failure or exc
                continue
            try:
                found = Ref("", pin) if pin else _lookup(refs, reference.version, subpath)
            except QueryError as exc:
                message = f"failed to resolve git src: failed to resolve git src: {exc}"
                raise ModuleError(message) from exc
            return GitOrigin(
                reference=reference.text,
                repository=address,
                subpath=subpath,
                version=_version_of(found, reference, pinned=bool(pin)),
                commit=found.commit,
            )
        assert failure is not None
        raise failure

    def _list(self, address: str) -> Refs:
        if address not in self._refs:
            try:
                self._refs[address] = self._with_credentials(
                    address, lambda remote: git_source.list_refs(self.store, remote)
                )
            except QueryError as exc:
                known = "not found" in str(exc).lower()
                why = "repository not found: " if known else str(exc)
                message = f"failed to resolve git src: failed to resolve git src: {why}"
                raise ModuleError(message) from exc
        return self._refs[address]

    def _checkout(self, origin: GitOrigin, name: str) -> None:
        def check_out(remote: Remote) -> None:
            with self.store.snapshots.draft(f"module {origin.reference}") as draft:
                found = Ref("", origin.commit)
                try:
                    git_source.checkout(remote, found, draft.fs, depth=1, tags=False, keep=False)
                except CommandFailed as exc:
                    message = f"{origin.reference}: cannot fetch {origin.commit}: {exc.stderr}"
                    raise QueryError(message) from exc
                draft.commit(name)

        try:
            self._with_credentials(origin.repository, check_out)
        except QueryError as exc:
            message = f"failed to resolve git src: {exc}"
            raise ModuleError(message) from exc

    def _with_credentials(self, address: str, work: Callable[[Remote], T]) -> T:
        """Do something with a remote; where it is denied, again with the caller's credentials."""
        environ = self._environ(address)
        try:
            return work(Remote(address=address, env=environ))
        except QueryError as exc:
            denied = self.reach is None and _DENIED.search(str(exc))
            header = self._authorization(address) if denied else None
            if header is None:
                raise
        own = _configuration({"http.extraHeader": f"Authorization: {header}"})
        return work(Remote(address=address, env={**environ, **own}))

    def _environ(self, address: str) -> dict[str, str]:
        settings = self.settings
        environ = dict(settings.proxies)
        if settings.ca_bundle is not None:
            environ["GIT_SSL_CAINFO"] = str(settings.ca_bundle)
        if self.reach is not None:
            # Resolvers are not for the command line, which finds modules before a session begins.
            from layerline.engine.api.resolvers.git import pinned_settings

            pinned = pinned_settings(self.reach, address, proxied=bool(settings.proxies))
            return {**environ, **_configuration(pinned)}
        if "SSH_AUTH_SOCK" in settings.environ:
            environ["SSH_AUTH_SOCK"] = settings.environ["SSH_AUTH_SOCK"]
        ssh = user_namespace.as_caller(["ssh"])
        if len(ssh) > 1:  # ssh looks for its files in the home of the user that it runs as
            environ |= {"GIT_SSH_COMMAND": shlex.join(map(str, ssh)), "GIT_SSH_VARIANT": "ssh"}
        return environ

    def _authorization(self, address: str) -> str | None:
        """What the caller's own git knows of the repository's host, as Dagger asks it."""
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https"):
            return None
        asked = f"protocol={parts.scheme}\nhost={parts.netloc}\npath={parts.path.lstrip('/')}\n\n"
        own = {
            name: value
            for name, value in self.settings.environ.items()
            if name.startswith(("GIT_CONFIG", "XDG_")) or name in ("HOME", "PATH", "USER")
        }
        argv = user_namespace.as_caller([command.require("git"), "credential", "fill"])
        done = command.run(
            argv,
            env={**own, "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "SSH_ASKPASS": "true"},
            stdin=asked.encode(),
            expect=None,
            timeout=_LONGEST_SECONDS,
        )
        answers = dict(
            line.split("=", 1) for line in done.stdout.decode().splitlines() if "=" in line
        )
        if done.status != 0 or not answers.get("password"):
            return None
        pair = f"{answers.get('username', '')}:{answers['password']}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _configuration(values: Mapping[str, str]) -> dict[str, str]:
    """Variables with settings for git; no secret is in an argument."""
    environ = {"GIT_CONFIG_COUNT": str(len(values))}
    for number, (name, value) in enumerate(values.items()):
        environ |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return environ


def _version_of(found: Ref, reference: GitReference, *, pinned: bool) -> str:
    """The short name of the ref that was found, or else its commit; with a pin as it is written."""
    if pinned and reference.version:
        return reference.version
    short = found.name
    for prefix in (HEADS, TAGS, "refs/"):
        short = short.removeprefix(prefix)
    return short or found.commit


def _lookup(refs: Refs, version: str, subpath: str) -> Ref:
    """The commit of a version; `v1` of a module in `sub` is the tag `sub/v1` if there is one."""
    if not version:
        return refs.lookup("HEAD")
    if subpath and f"{TAGS}{subpath}/{version}" in refs.commits:
        return refs.lookup(f"{TAGS}{subpath}/{version}")
    return refs.lookup(version)
