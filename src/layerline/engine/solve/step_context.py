"""What the steps work with: the store, the runtime, and the session's secrets and services."""

from __future__ import annotations

import os
import threading
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from layerline.engine.runtime.terminal import UserTerminal
from layerline.engine.solve.loopback import LoopbackPorts
from layerline.engine.solve.result import Result
from layerline.engine.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from layerline.engine.cache.shared import SharedCache
    from layerline.engine.runtime.confined_process import ConfinedProcess
    from layerline.engine.runtime.container import Runtime
    from layerline.engine.runtime.spec import ContainerSpec
    from layerline.engine.solve.ops import Op
    from layerline.engine.solve.service_network import ServiceNetwork
    from layerline.engine.store.store import Store
    from layerline.engine.store.tree import Tree
    from layerline.log import Journal, Step
    from layerline.settings import Settings

MOST_LAYERS = 120
KEPT_LAYERS = 40
# What walks over files holds Python's lock most of the time, and gives it up for each system call:
# eight at once take up to half as much processor time again as one after the other. Copies of many
# bytes do not hold it.
WALKS = max(2, (os.cpu_count() or 1) // 2)


class NestedSession(Protocol):
    """Lets programs in containers use the session."""

    def admit_container(
        self, process: ConfinedProcess, *, scope: str
    ) -> AbstractContextManager[Mapping[str, str]]:
        """A client whose host is the container of `process`; gives the variables that lead to it.

        Its secrets and volumes are named within `scope`.
        """


@dataclass(slots=True, kw_only=True, eq=False)
class SolveContext:
    """Shared by all steps of a session."""

    store: Store
    settings: Settings
    journal: Journal
    find_runtime: Callable[[], Runtime]
    secret: Callable[[str], bytes]
    nested: NestedSession | None = None
    loopback: LoopbackPorts = field(default_factory=LoopbackPorts)
    interactive: tuple[str, ...] = ()
    shared: SharedCache | None = None
    terminal: UserTerminal = field(init=False)
    _runtime: Runtime | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _walks: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(WALKS))

    def __post_init__(self) -> None:
        # The terminal is shared with what the journal shows.
        self.terminal = UserTerminal(journal=self.journal)

    def runtime(self) -> Runtime:
        """The OCI runtime, looked for when the first container is to run."""
        with self._lock:
            if self._runtime is None:
                self._runtime = self.find_runtime()
                if shortfall := self._runtime.limits.shortfall:
                    self.journal.step(shortfall).end()
            return self._runtime

    def walk(self) -> AbstractContextManager[object]:
        """A turn to walk over files. Those of another machine are fetched meanwhile, by several."""
        return nullcontext() if self.shared is not None else self._walks

    def with_loopback(self, container: ContainerSpec) -> ContainerSpec:
        """The container with the ports of the host's loopback that the user named for it."""
        # The session's proxies are each container's: the runtime adds them.
        named = replace(container, env=(*container.env, *self.settings.proxies.items()))
        used = self.loopback.used_by(named)
        return replace(container, loopback=(*container.loopback, *used))

    def add_layer(
        self, key: str, below: tuple[str, ...], change: Callable[[Writer], None]
    ) -> Result:
        """A snapshot on top of a tree, made by `change` if the store has none under that name.

        Nothing is kept if that fails.
        """
        below = self.flat(below)
        if self.store.snapshots.has(key):
            return Result(layers=(*below, key))
        with self.store.snapshots.draft() as draft:
            change(Writer(self.store.tree(below), draft.fs))
            return Result(layers=(*below, draft.commit(key)))

    def flat(self, layers: tuple[str, ...]) -> tuple[str, ...]:
        """The same tree in few enough snapshots for one overlay mount.

        The lowest ones stay as they are.
        """
        if len(layers) < MOST_LAYERS:
            return layers
        return (*layers[:KEPT_LAYERS], self.store.flatten(layers[KEPT_LAYERS:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """One step under way.

    `key` names its result, `inputs` are the results of its parents by their keys, `progress` takes
    its output, `cancel` is set when nobody waits for it any more.
    """

    context: SolveContext
    services: ServiceNetwork
    key: str
    inputs: Mapping[str, Result]
    progress: Step
    cancel: threading.Event

    def layers(self, op: Op) -> tuple[str, ...]:
        """The snapshots of a parent."""
        return self.inputs[op.key].layers

    def tree(self, op: Op) -> Tree:
        """The files of a parent."""
        return self.context.store.tree(self.layers(op))
