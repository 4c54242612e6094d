"""Secrets: values that reach execs and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerline.engine.api.container_host import ContainerSecrets
from layerline.engine.api.fields import field
from layerline.engine.api.objects import Query, Secret
from layerline.engine.api.secrets import split_cache_key

if TYPE_CHECKING:
    from layerline.engine.api.session import Call


@field("Query", "setSecret")
def set_secret(_self: Query, call: Call, *, name: str, plaintext: str) -> Secret:
    """A secret by name; its value is in no id and no key."""
    identity = call.session.secrets.set(name, plaintext, call.client.namespace)
    return Secret(identity=identity, name=name)


@field("Query", "secret")
async def secret(_self: Query, call: Call, *, uri: str, cache_key: str | None = None) -> Secret:
    """A secret that is read from where its URI says."""
    plain, key = split_cache_key(uri)
    secrets, process = call.session.secrets, call.client.process

    def refer() -> str:
        if process is None:
            return secrets.refer(plain, cache_key or key)
        return secrets.refer_in_container(
            plain, cache_key or key, ContainerSecrets(process), scope=call.client.namespace
        )

    return Secret(identity=await call.session.solver.in_thread(refer), uri=plain)


@field("Secret", "plaintext")
async def plaintext(self: Secret, call: Call) -> str:
    """The value."""
    value = await call.session.solver.in_thread(call.session.secrets.plaintext, self.identity)
    return value.decode(errors="replace")
