"""Sessions: the objects, secrets and services of one main client, over one store."""

from __future__ import annotations

import contextlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from layerline.engine.api import kept_objects
from layerline.engine.api.objects import Query
from layerline.engine.api.secrets import HostSecrets, SessionSecrets, salt_of
from layerline.engine.api.session_registries import SessionRegistries
from layerline.engine.api.spans import ClientSpans
from layerline.engine.api.turns import Turns
from layerline.engine.cache.shared import SharedCache, sent_at_end
from layerline.engine.image.registry.reach import Reach
from layerline.engine.runtime.container import Runtime
from layerline.engine.solve.keys import identity_of
from layerline.engine.solve.loopback import LoopbackPorts
from layerline.engine.solve.solver import Solver
from layerline.engine.solve.step_context import SolveContext
from layerline.engine.store.store import Store
from layerline.engine.store.upkeep import Upkeep
from layerline.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from layerline.engine.runtime.confined_process import ConfinedProcess
    from layerline.engine.runtime.spec import Serve
    from layerline.engine.solve.services import SessionServices
    from layerline.errors import LayerlineError
    from layerline.log import Journal
    from layerline.settings import Settings
    from layerline.storage import Storage


MAIN = "mainClient"
_GUESSABLE = frozenset({"Secret", "Socket", "Service", "CacheVolume", "GitRepository", "GitRef"})


@dataclass(slots=True, kw_only=True, eq=False)
class Client:
    """Who asks: the main client, the process of a function call (`function`), or a nested exec.

    Only the main client reaches the caller's machine; the host of the others is their own container
    (`process`). `failure` is why the last query failed, if it did. `schema` is what the client is
    served where that is more than the core: its digest, and the schema. `spans` are what its
    process tells of its work.
    """

    token: str
    function: Any = None
    namespace: str = MAIN
    process: ConfinedProcess | None = None
    failure: LayerlineError | None = None
    schema: tuple[str, Any] | None = None
    spans: ClientSpans | None = None

    def step_of(self, traceparent: str) -> int | None:
        """The step of the journal that a request is a part of."""
        return None if self.spans is None else self.spans.step_of(traceparent)

    @property
    def reaches_host(self) -> bool:
        """Whether it is the main client."""
        return self.namespace == MAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a resolver may use in addition to its arguments.

    With `elsewhere` the engine connects to what is not of this machine only, whoever the client is.
    """

    session: Session
    client: Client
    elsewhere: bool = False

    @property
    def reach(self) -> Reach | None:
        """What the engine may connect to for this client; None for everything."""
        everything = self.client.reaches_host and not self.elsewhere
        return None if everything else self.session.reach


@dataclass(slots=True, kw_only=True, eq=False)
class Session:
    """The state of a session.

    `workdir` is what relative host paths resolve against. `modules` are those whose functions may
    be called, by their digests. `port` is where it is served; `serve` serves it in a container's
    network. Values are kept under their ids until the session ends; those whose ids were `given` to
    the main client longer, where the session `keeps_ids`. `pruning` is what a client wants to be
    kept of the store.
    """

    settings: Settings
    store: Store
    solver: Solver
    registries: SessionRegistries
    secrets: SessionSecrets
    journal: Journal
    workdir: Path
    reach: Reach = field(default_factory=Reach)
    root: Query = field(default_factory=Query)
    main: Client
    port: int = 0
    serve: Serve = field(init=False)
    turns: Turns = field(default_factory=Turns)
    clients: dict[str, Client] = field(default_factory=dict)
    modules: dict[str, Any] = field(default_factory=dict)
    keeps_ids: bool = False
    pruning: Storage | None = None
    given: dict[str, Any] = field(default_factory=dict)
    _values: dict[str, Any] = field(default_factory=dict)
    _once: dict[str, _Once] = field(default_factory=dict)

    @property
    def services(self) -> SessionServices:
        """The session's services."""
        return self.solver.services

    def call(self, client: Client | None = None, *, elsewhere: bool = False) -> Call:
        """The context of a query by a client, the main one by default."""
        return Call(session=self, client=client or self.main, elsewhere=elsewhere)

    def environ(self, client: Client) -> dict[str, str]:
        """The variables that lead an SDK to this served session, with the rights of a client."""
        port, token = self.port, client.token
        proxies = self.settings.proxies
        spans = (
            client.spans.variables(port=port, token=token, proxies=proxies) if client.spans else {}
        )
        return {"DAGGER_SESSION_PORT": str(port), "DAGGER_SESSION_TOKEN": token, **spans}

    def admit(
        self,
        *,
        namespace: str,
        process: ConfinedProcess,
        function: Any = None,
        schema: tuple[str, Any] | None = None,
        call: int | None = None,
    ) -> Client:
        """Create a client with a token of its own; `call` is the step that it is started for."""
        client = Client(
            token=new_token(),
            namespace=namespace,
            process=process,
            function=function,
            schema=schema,
            spans=None if call is None else ClientSpans(journal=self.journal, call=call),
        )
        self.clients[client.token] = client
        return client

    @contextlib.contextmanager
    def admit_container(
        self, process: ConfinedProcess, *, scope: str
    ) -> Iterator[Mapping[str, str]]:
        """A client for the program of a nested exec, while it runs."""
        client = self.admit(namespace=f"exec({scope})", process=process)
        try:
            yield self.environ(client)
        finally:
            self.dismiss(client)

    def dismiss(self, client: Client) -> None:
        """Revoke the client's token."""
        self.clients.pop(client.token, None)
        if client.spans is not None:
            client.spans.close()

    def identify(self, value: Any) -> str:
        """The id of a value; equal values, equal ids.

        An id gives what it names to whoever has it. Those of what follows from a name or a path
        alone are salted: nobody guesses them.
        """
        identity = identity_of(value)
        if value.typename in _GUESSABLE:
            salt = salt_of(self.settings.store)
            identity = hmac.new(salt, identity.encode(), "sha256").hexdigest()
        identifier = f"{value.typename}:{identity}"
        self._values.setdefault(identifier, value)
        return identifier

    def load(self, identifier: str, expected: str | None = None) -> Any:
        """The value of an id.

        Raises QueryError if it is unknown, or of another type than `expected`.
        """
        value = self._values.get(identifier)
        if value is None and (value := kept_objects.recall(self.store.index, identifier)):
            self._values[identifier] = value
        if value is None:
            message = f"no object has the id {identifier!r} in this session"
            raise QueryError(message)
        if expected is not None and value.typename != expected:
            message = f"load {identifier}: expected {expected}, got {value.typename}"
            raise QueryError(message)
        return value

    def keep_given(self) -> None:
        """Keep what ids name that were given to the main client, for sessions to come."""
        if self.given:
            given = self.given.values()
            kept_objects.keep(self.store.index, given, self.journal.masks)

    async def once(self, key: str, make: Callable[[], Awaitable[Any]]) -> Any:
        """The result of `make`, made once in this session for a key.

        A failure is not remembered.
        """
        entry = self._once.setdefault(key, _Once())
        async with entry.lock:
            if not entry.done:
                entry.result = await make()
                entry.done = True
            return entry.result


@dataclass(slots=True, eq=False)
class _Once:
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    done: bool = False
    result: Any = None


def new_token() -> str:
    """A token of 256 bits."""
    return secrets.token_urlsafe(32)


def _secrets(settings: Settings, journal: Journal, workdir: Path) -> SessionSecrets:
    source = HostSecrets(settings=settings, workdir=workdir)
    return SessionSecrets(settings=settings, source=source, masks=journal.masks)


@contextlib.asynccontextmanager
async def open_session(
    settings: Settings,
    journal: Journal,
    *,
    workdir: Path,
    token: str | None = None,
    interactive: Sequence[str] = (),
    arguments: Sequence[str] = (),
) -> AsyncIterator[Session]:
    """Open the store and a session over it.

    At its end services stop, what was recorded is durable, and shared. `interactive` is the argv of
    a program for a user at a terminal when an exec fails; `arguments` are the user's command line,
    whose URLs of the host's loopback containers may use. Raises NoSpace as Upkeep does.
    """
    upkeep = Upkeep(settings, workdir, arguments)
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(Store.open(settings.store))
        session_secrets = _secrets(settings, journal, workdir)
        shared = stack.enter_context(SharedCache.open(store, settings, journal))
        registries = SessionRegistries(store=store, settings=settings, shared=shared)
        stack.callback(registries.close)
        context = SolveContext(
            store=store,
            settings=settings,
            journal=journal,
            find_runtime=lambda: stack.enter_context(Runtime.find(settings, store.scratch)),
            secret=session_secrets.plaintext,
            loopback=LoopbackPorts.of_user(arguments, settings),
            interactive=tuple(interactive),
            shared=shared,
        )
        async with sent_at_end(shared), Solver.running(context) as solver:
            main = Client(token=token or new_token())
            session = context.nested = Session(
                settings=settings,
                store=store,
                solver=solver,
                registries=registries,
                secrets=session_secrets,
                journal=journal,
                workdir=workdir,
                reach=Reach(context.loopback.named, context.loopback.endpoints),
                main=main,
                clients={main.token: main},
            )
            yield session
            await solver.in_thread(session.keep_given)
    await anyio.to_thread.run_sync(upkeep.finish, store.snapshots.used, journal, session.pruning)
