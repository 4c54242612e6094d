"""Running one container, from its description to its outcome.

Invariant: whatever happens, when `run` returns or raises nothing of the container is left: no
process, mount, cgroup or file outside its layers. Secrets are only ever in memory.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from layerline import command, kernel
from layerline.engine.runtime import executable, runtime_spec, stdio
from layerline.engine.runtime.cgroups import Cgroups
from layerline.engine.runtime.container_exec import execute_in
from layerline.engine.runtime.gpu_devices import gpu_devices
from layerline.engine.runtime.root import INIT, Provided, Root, assemble_root
from layerline.engine.runtime.runc import Container, find_init, find_runtime, keeps_container
from layerline.engine.runtime.spec import ExecOutcome, Output
from layerline.engine.runtime.stdio import STDERR, STDOUT, Sinks, follow
from layerline.engine.runtime.step_limits import LimitWatch, StepLimits
from layerline.engine.runtime.user_ids import SHIFTED, ShiftedFiles, UserIds, same_ids
from layerline.engine.store.rmtree import discard_tree
from layerline.errors import Cancelled, ExecError, LayerlineError, NoSpace, UnknownUser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    from layerline.engine.runtime.gpu_devices import GpuDevices
    from layerline.engine.runtime.spec import ContainerSpec
    from layerline.settings import Settings

_SETUP_FAILED = -1
_PATIENCE = 1.0  # seconds in which a killed container may end before its runtime is killed as well
_LONGEST_SECONDS = 600.0  # for another program in a running container
_NO_GUEST_RIGHTS = (
    "insecureRootCapabilities of a module, a nested exec or a Dockerfile needs a user namespace, "
    "which this machine refuses: see 'layerline doctor --check shifted-owners'"
)
_RESOLV_CONF = Path("/etc/resolv.conf")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedContainer:
    """A container that is ready to start; `launch_error` says why its program cannot be."""

    container: Container
    stdin: int | None
    redirects: Mapping[int, int]
    launch_error: str | None
    watch: LimitWatch


class Runtime:
    """Runs containers with one runtime program for one session."""

    def __init__(
        self, settings: Settings, *, provided: Provided, scratch: Path, files: Path
    ) -> None:
        self.program = find_runtime(settings)
        self._keeps = keeps_container(self.program)
        self._provided = provided
        self._proxies = settings.proxies
        self._environ = settings.environ
        self._scratch = scratch
        self._files = files
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._opened = False
        self._shifted: ShiftedFiles | None = None
        self.state = scratch / "run"
        self._numbers = itertools.count(1)
        self.state.mkdir(parents=True)
        # In memory, since configurations hold the values of secrets.
        kernel.mount("tmpfs", self.state, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=0700")
        self._cgroups = Cgroups()
        self.limits = StepLimits.impose(self._cgroups, settings.limits, settings.config)

    @classmethod
    def find(cls, settings: Settings, scratch: Path, *, files: Path | None = None) -> Self:
        """The runtime of this machine; `scratch` is a directory of this session's own.

        All layers and volumes of containers are below `files`, by default the store.
        """
        provided = Provided(
            init=find_init(),
            resolv_conf=_RESOLV_CONF,
            certificates=settings.read_certificates(),
            certificates_win="SSL_CERT_FILE" in settings.environ,
        )
        return cls(settings, provided=provided, scratch=scratch, files=files or settings.store)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def ids(self, *, privileged: bool, same: bool = False) -> UserIds | None:
        """The ids of a container's user namespace; None for none.

        Those of a privileged one are the host's, as are all of an ordinary user's, who is in a user
        namespace already. With `same` there is a namespace where the ids cannot be shifted, too.
        """
        if privileged:
            return None
        if self._shifted_files() is not None:
            return SHIFTED
        return same_ids() if same else None

    def _shifted_files(self) -> ShiftedFiles | None:
        with self._lock:
            if not self._opened and not kernel.in_user_namespace():
                opening = ShiftedFiles.open(self.state, self._files, scratch=self._scratch)
                self._shifted = self._stack.enter_context(opening)
            self._opened = True
            return self._shifted

    def close(self) -> None:
        """Remove the session's state; no container may be running."""
        self._stack.close()
        kernel.unmount(self.state)
        discard_tree(self.state)
        self._cgroups.close()

    def run(
        self,
        spec: ContainerSpec,
        *,
        on_output: Callable[[bytes, int], None],
        cancel: threading.Event,
        on_start: Callable[[Container], None] = lambda _container: None,
        watch: Callable[[], LayerlineError | None] = lambda: None,
    ) -> ExecOutcome:
        """Run the program to its end; close the outcome when its outputs are stored.

        `on_output` gets each piece of output, scrubbed, with 1 for stdout and 2 for stderr. A
        set-up that fails raises ExecError with code -1; `cancel` ends the container and raises
        Cancelled. An error that `watch` gives does the same and is raised.
        """
        with ExitStack() as stack:
            outputs = {stream: self._output(stack) for stream in (STDOUT, STDERR)}
            combined = self._output(stack)
            with self.prepare(spec) as ready:
                sinks = Sinks(
                    outputs=outputs,
                    combined=combined,
                    redirects=ready.redirects,
                    listener=on_output,
                )
                code = self._follow(spec, ready, sinks, cancel, on_start, watch)
                limit = ready.watch.reason() if code else ""
            stack.pop_all()
        return ExecOutcome(
            code=code,
            stdout=outputs[STDOUT],
            stderr=outputs[STDERR],
            combined=combined,
            limit=limit,
        )

    @contextmanager
    def prepare(
        self, spec: ContainerSpec, *, terminal: bool = False
    ) -> Iterator[PreparedContainer]:
        """Mount, open and write all that the runtime program needs to start the container."""
        name = f"c{next(self._numbers)}"
        bundle = self.state / name
        bundle.mkdir()
        with ExitStack() as stack:
            stack.callback(discard_tree, bundle)
            try:
                ready = self._write_bundle(spec, name, bundle, stack, terminal=terminal)
            except OSError as exc:
                raise _os_setup_error(spec, exc) from exc
            except UnknownUser as exc:
                raise setup_error(spec, str(exc)) from exc
            yield ready

    def _write_bundle(
        self, spec: ContainerSpec, name: str, bundle: Path, stack: ExitStack, *, terminal: bool
    ) -> PreparedContainer:
        shifted = self._files_for(spec)
        gpus = stack.enter_context(gpu_devices(spec, bundle, self._environ))
        spec = gpus.container(spec)
        root = stack.enter_context(assemble_root(spec, self._provided, bundle, shifted))
        stdin = stdio.open_stdin(spec, root, stack)
        redirects = stdio.open_redirects(spec, root, stack)
        env = self._environment(spec, root)
        cwd = root.inside.resolve(spec.cwd)
        launch_error = _make_cwd(cwd, root) or executable.launch_error(
            spec.argv[0], root.inside, path=env["PATH"], cwd=cwd
        )
        process = runtime_spec.Process(
            argv=(INIT, "--", *spec.argv) if spec.init else spec.argv,
            env=env,
            cwd=cwd,
            user=gpus.user(root.user),
            terminal=terminal,
            rlimits=self.limits.rlimits,
            oom_score=self.limits.oom_score,
        )
        options = self._sandbox(spec, root, gpus, name)
        document = json.dumps(runtime_spec.configuration(process, options))
        (bundle / "config.json").write_text(document)
        container = Container(
            program=self.program,
            state=self.state / "runc",
            bundle=bundle,
            name=name,
            cgroups=self._cgroups,
            keeps=self._keeps,
        )
        stack.callback(container.remove)
        return PreparedContainer(
            container=container,
            stdin=stdin,
            redirects=redirects,
            launch_error=launch_error,
            watch=self.limits.watch(name),
        )

    def _sandbox(
        self, spec: ContainerSpec, root: Root, gpus: GpuDevices, name: str
    ) -> runtime_spec.SandboxOptions:
        return runtime_spec.SandboxOptions(
            root=root.path,
            hostname=spec.hostname,
            privileged=spec.rules_host,
            capable=spec.privileged,
            cgroup=self._cgroups.path(name),
            network=spec.network.namespace if spec.network else None,
            late=root.late,
            device_rules=gpus.rules,
            hooks=gpus.hooks,
            users=spec.network.users if spec.network else None,
            resources=self.limits.resources,
        )

    def _files_for(self, spec: ContainerSpec) -> ShiftedFiles | None:
        ids = spec.network.users.ids if spec.network and spec.network.users else None
        if spec.privileged and spec.guest and ids is None and not kernel.in_user_namespace():
            raise setup_error(spec, _NO_GUEST_RIGHTS)
        return self._shifted_files() if ids == SHIFTED else None

    def _environment(self, spec: ContainerSpec, root: Root) -> dict[str, str]:
        env = dict(spec.env)
        env.setdefault("PATH", command.DEFAULT_PATH)
        for upper in _PROXIES:
            # Programs read one or the other, so a user who sets one means both.
            known = env.get(upper, env.get(upper.lower()))
            if known is not None:
                env.setdefault(upper, known)
                env.setdefault(upper.lower(), known)
        for name, value in self._proxies.items():
            env.setdefault(name, value)
        env.setdefault("HOME", root.user.home)
        return env

    def _follow(
        self,
        spec: ContainerSpec,
        ready: PreparedContainer,
        sinks: Sinks,
        cancel: threading.Event,
        on_start: Callable[[Container], None],
        watch: Callable[[], LayerlineError | None],
    ) -> int:
        if ready.launch_error is not None:
            sinks.write(ready.launch_error.encode(), STDERR)
            return 1
        process = ready.container.start(stdin=ready.stdin, stdout=command.PIPE, stderr=command.PIPE)
        if spec.process is not None:
            spec.process.number = ready.container.process
            spec.process.execute = partial(execute_in, ready.container, timeout=_LONGEST_SECONDS)
        on_start(ready.container)
        end = _EarlyEnd(cancel=cancel, watch=watch)

        def on_tick() -> None:
            if end.should_end() or ready.watch.tick():
                ready.container.kill(process, harder=end.is_overdue())

        code = follow(process, sinks, spec.secrets, on_tick=on_tick)
        if end.reason is not None:
            raise end.reason
        failure = ready.container.failure()
        if failure is not None:
            raise setup_error(spec, failure)
        return code

    def _output(self, stack: ExitStack) -> Output:
        output = Output(self._scratch)
        stack.callback(output.close)
        return output


@dataclass(slots=True, kw_only=True)
class _EarlyEnd:
    """Whether a container has to end before its program does, and why."""

    cancel: threading.Event
    watch: Callable[[], LayerlineError | None]
    reason: LayerlineError | None = None
    since: float = 0.0

    def should_end(self) -> bool:
        """Whether the container has to end; the first reason to end it is kept."""
        if self.reason is None:
            self.reason = self.watch()
            if self.cancel.is_set():
                self.reason = Cancelled("the call was cancelled; its container was killed")
            self.since = time.monotonic()
        return self.reason is not None

    def is_overdue(self) -> bool:
        """Whether the container is still running `_PATIENCE` seconds after it had to end."""
        return self.reason is not None and time.monotonic() - self.since > _PATIENCE


def setup_error(spec: ContainerSpec, message: str) -> ExecError:
    """The error of a container whose program was never started."""
    return ExecError(command=spec.argv, code=_SETUP_FAILED, stdout="", stderr="", message=message)


def _os_setup_error(spec: ContainerSpec, exc: OSError) -> ExecError | NoSpace:
    if exc.errno == errno.ENOSPC:
        message = f"no space left on device: {exc.filename}: free some space and try again"
        return NoSpace(message)
    reason = (exc.strerror or str(exc)).lower()
    return setup_error(spec, f"{exc.filename}: {reason}" if exc.filename else reason)


def _make_cwd(cwd: str, root: Root) -> str | None:
    """Create the working directory if it is missing; returns why that failed, or None."""
    with ExitStack() as stack, root.creating():
        try:
            root.inside.make_directories(cwd, owner=root.owner, stack=stack)
            with root.inside.open_path(cwd, os.O_PATH | os.O_DIRECTORY):
                return None
        except NotADirectoryError:
            return f"mkdir {cwd}: not a directory"
