"""RUN as fields of the API; its mounts are removed afterwards."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from layerline.dockerfile_lexer import heredoc_heading
from layerline.engine.api.container_paths import add_mount
from layerline.engine.api.objects import CacheVolume, Container, Directory, Secret
from layerline.engine.api.resolvers import container_config, container_exec, container_mounts
from layerline.engine.api.session import Client
from layerline.engine.dockerfile.configuration import command_argv, workdir_after
from layerline.engine.dockerfile.mounts import MountFlag, parse_mount
from layerline.engine.solve import ops
from layerline.errors import NotSupported, QueryError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from layerline.engine.api.session import Call
    from layerline.engine.dockerfile.instructions import Command, Run
    from layerline.engine.dockerfile.state import State
    from layerline.engine.solve.ops import Op

_SECRETS = "/run/secrets"
_SCRIPTS = "/dev/pipes"
_NETWORKS = ("", "default", "host")
_SECURITY = ("", "sandbox", "insecure")


def _as_guest(call: Call) -> Call:
    """The call of code that is not the user's own: `--security=insecure` is a repository's wish."""
    return replace(call, client=Client(token="", namespace=f"dockerfile({call.client.namespace})"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Applies the RUN instructions of a build; `files` resolves a mount's `from=` and `source=`."""

    call: Call
    secrets: Mapping[str, Secret]
    proxies: tuple[tuple[str, str], ...]
    files: Callable[[str, str], Awaitable[Op]]
    init: bool = True

    async def apply(self, state: State, run: Run) -> State:
        """The stage after a RUN."""
        _check(run)
        before = state.container
        container = _with_secrets_of(before)
        for text in run.mounts:
            container = await self._mount(container, state, parse_mount(text, state.expand))
        argv, container = _argv(container, state, run.command, self.call)
        container = container_exec.run_command(
            self._with_environment(container, state),
            _as_guest(self.call),
            args=argv,
            insecure_root_capabilities=run.security == "insecure",
            no_init=not self.init,
        )
        return replace(state, container=_without_mounts(container))

    def _with_environment(self, container: Container, state: State) -> Container:
        for name, value in state.variables.items():
            container = container_config.with_env_variable(
                container, self.call, name=name, value=value
            )
        image = state.image
        config = replace(
            container.config,
            user=image.user,
            workdir=image.workdir or "/",
            platform=image.platform,
        )
        return replace(container, config=config, volatile=(), proxies=self.proxies)

    async def _mount(self, container: Container, state: State, flag: MountFlag) -> Container:
        match flag.kind:
            case "bind":
                tree = await self.files(flag.stage, flag.source)
                return add_mount(
                    container,
                    ops.DirectoryMount(
                        target=_target(state, flag.target),
                        source=tree,
                        path=_absolute(flag.source),
                        readonly=flag.readonly is not False,
                    ),
                )
            case "cache":
                return await self._cache(container, state, flag)
            case "tmpfs":
                mount = ops.TemporaryMount(target=_target(state, flag.target), size=flag.size)
                return add_mount(container, mount)
            case "secret":
                return self._secret(container, state, flag)
            case _:
                return _agent(container, flag)

    async def _cache(self, container: Container, state: State, flag: MountFlag) -> Container:
        source = None
        if flag.stage:
            tree = await self.files(flag.stage, flag.source)
            source = Directory(tree=tree, path=_absolute(flag.source))
        elif (flag.uid, flag.gid, flag.mode) != (None, None, None):
            mode = 0o755 if flag.mode is None else flag.mode
            directory = ops.NewDirectory(base=ops.Scratch(), path="/cache", mode=mode)
            tree = ops.Chown(base=directory, path="/cache", owner=flag.owner)
            source = Directory(tree=tree, path="/cache")
        return container_mounts.with_mounted_cache(
            container,
            self.call,
            path=_target(state, flag.target),
            cache=CacheVolume(key=f"/{flag.cache_key}", namespace=self.call.client.namespace),
            source=source,
            sharing=flag.sharing.upper(),
            owner="" if flag.uid is None and flag.gid is None else flag.owner,
        )

    def _secret(self, container: Container, state: State, flag: MountFlag) -> Container:
        secret = self.secrets.get(flag.secret_name)
        if secret is None:
            if not flag.required:
                return container
            message = f'secret "{flag.secret_name}" is required but was not provided'
            raise QueryError(message)
        if flag.env:
            container = container_mounts.with_secret_variable(
                container, self.call, name=flag.env, secret=secret
            )
            if not flag.target:
                return container
        target = flag.target or posixpath.join(_SECRETS, posixpath.basename(flag.secret_name))
        return container_mounts.with_mounted_secret(
            container,
            self.call,
            path=_target(state, target),
            source=secret,
            owner=flag.owner,
            mode=0o400 if flag.mode is None else flag.mode,
        )


def _check(run: Run) -> None:
    if run.network not in _NETWORKS:
        what = f"RUN --network={run.network}"
        raise NotSupported(what)
    if run.security not in _SECURITY:
        message = f'security "{run.security}" is not valid'
        raise QueryError(message)


def _argv(
    container: Container, state: State, command: Command, call: Call
) -> tuple[list[str], Container]:
    """The argv to run; a heredoc with a shebang is mounted and run as a script."""
    if not command.heredocs:
        return list(command_argv(state, command)), container
    line, (document, *_) = command.words[0], command.heredocs
    if heredoc_heading(line.strip()) is None:
        texts = [f"\n{doc.raw}{doc.name}" for doc in command.heredocs]
        return [*state.shell, "".join((line, *texts))], container
    if not document.text.startswith("#!"):
        return [*state.shell, document.text], container
    script = ops.NewFile(
        base=ops.Scratch(), path=f"/{document.name}", data=document.text.encode(), mode=0o755
    )
    container = container_mounts.with_mounted_directory(
        container, call, path=_SCRIPTS, source=Directory(tree=script), read_only=True
    )
    return [posixpath.join(_SCRIPTS, document.name)], container


def _with_secrets_of(container: Container) -> Container:
    return replace(container, mounts=(), secret_env=())


def _without_mounts(container: Container) -> Container:
    return replace(container, mounts=(), secret_env=(), proxies=())


def _agent(container: Container, flag: MountFlag) -> Container:
    if flag.required:
        what = "RUN --mount=type=ssh"
        raise NotSupported(what)
    return container


def _target(state: State, path: str) -> str:
    target = workdir_after(state, path)
    if target == "/":
        message = f'invalid mount target "{target}"'
        raise QueryError(message)
    return target


def _absolute(path: str) -> str:
    return "/" + posixpath.normpath("/" + path).lstrip("/")
