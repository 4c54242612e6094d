"""The session's images.

Where `from` finds them and `publish` sends them, with the logins that the session was given.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from layerline.engine.image.registry.connections import Registries
from layerline.engine.image.registry.credentials import Credentials, Login
from layerline.engine.image.resolve import Resolver

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerline.engine.image.assemble import Assembled
    from layerline.engine.image.layer_import import Image
    from layerline.engine.image.platform import Platform
    from layerline.engine.image.reference import Reference
    from layerline.engine.store.store import Store
    from layerline.settings import Settings


@dataclass(slots=True, kw_only=True, eq=False)
class Images:
    """Threads may share it. A new login starts new connections."""

    store: Store
    settings: Settings
    _logins: dict[str, Login] = field(default_factory=dict)
    _registries: Registries | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def resolve(
        self,
        reference: Reference,
        platform: Platform,
        *,
        on_output: Callable[[bytes], None] | None = None,
    ) -> Image:
        """The image, its layers unpacked in the store."""
        resolver = Resolver(store=self.store, registries=self._connected(), on_output=on_output)
        return resolver.resolve(reference, platform)

    def publish(self, image: Assembled, reference: Reference) -> None:
        """Push an image to its registry."""
        self._connected().registry(reference.tagged()).push(self.store, image)

    def authorize(self, registry: str, username: str, secret: str) -> None:
        """Log in to a registry from here on."""
        with self._lock:
            self._logins[registry] = Login(username=username, secret=secret)
        self.close()

    def forget(self, registry: str) -> None:
        """Log in to a registry no longer."""
        with self._lock:
            self._logins.pop(registry, None)
        self.close()

    def close(self) -> None:
        """End all connections; the next use makes new ones."""
        with self._lock:
            if self._registries is not None:
                self._registries.close()
            self._registries = None

    def _connected(self) -> Registries:
        with self._lock:
            if self._registries is None:
                credentials = Credentials.of(self.settings, dict(self._logins))
                self._registries = Registries(settings=self.settings, credentials=credentials)
            return self._registries
