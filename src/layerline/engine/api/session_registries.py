"""The registries that `from` pulls from and `publish` pushes to, with the session's logins."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from layerline.engine.image.registry.connections import Registries
from layerline.engine.image.registry.credentials import Credentials, Login
from layerline.engine.image.resolve import Resolver

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerline.engine.cache.shared import SharedCache
    from layerline.engine.image.assemble import AssembledImage
    from layerline.engine.image.layer_import import Image
    from layerline.engine.image.platform import Platform
    from layerline.engine.image.reference import Reference
    from layerline.engine.image.registry.reach import Reach
    from layerline.engine.store.store import Store
    from layerline.settings import Settings


@dataclass(slots=True, kw_only=True, eq=False)
class SessionRegistries:
    """The connections of a session; threads may share them, and a new login replaces them."""

    store: Store
    settings: Settings
    shared: SharedCache | None = None
    _logins: dict[str, Login] = field(default_factory=dict)
    _registries: dict[Reach | None, Registries] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def resolve(
        self,
        reference: Reference,
        platform: Platform,
        *,
        on_output: Callable[[bytes], None] | None = None,
        on_bytes: Callable[[int, int], None] = lambda _received, _expected: None,
        reach: Reach | None = None,
    ) -> Image:
        """Pull an image unless the store has it; its layers are unpacked in the store."""
        registries = self._connect(reach)
        resolver = Resolver(
            store=self.store,
            registries=registries,
            on_output=on_output,
            on_bytes=on_bytes,
            shared=self.shared,
        )
        return resolver.resolve(reference, platform)

    def publish(
        self, image: AssembledImage, reference: Reference, reach: Reach | None = None
    ) -> None:
        """Push an image to its registry, which takes layers of a cache in it from there."""
        place = self._connect(reach).registry(reference.with_default_tag())
        if self.shared is None:
            place.push(self.store, image)
            return
        turn = self.shared.turns_at(place.reference)
        place.push(self.store, image, sources=self.shared.references, turn=turn)

    def authorize(self, registry: str, username: str, secret: str) -> None:
        """Use a login for a registry from now on."""
        with self._lock:
            self._logins[registry] = Login(username=username, secret=secret)
        self.close()

    def forget(self, registry: str) -> None:
        """Drop the login for a registry."""
        with self._lock:
            self._logins.pop(registry, None)
        self.close()

    def close(self) -> None:
        """Close all connections; the next use opens new ones."""
        with self._lock:
            for registries in self._registries.values():
                registries.close()
            self._registries.clear()

    def _connect(self, reach: Reach | None) -> Registries:
        with self._lock:
            if reach not in self._registries:
                credentials = Credentials.of(self.settings, dict(self._logins))
                self._registries[reach] = Registries(
                    settings=self.settings, credentials=credentials, reach=reach
                )
            return self._registries[reach]
