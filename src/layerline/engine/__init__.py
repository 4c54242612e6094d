"""The embedded engine: a Dagger session for one machine, without a daemon.

What the command line uses of the store, of images and of evaluation is offered here, and imported
on first use: `layerline functions` needs neither compression nor an event loop.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from layerline.engine.attestation.attaching import Summary, attach_summary
    from layerline.engine.attestation.comparison import Comparison, compare_address
    from layerline.engine.attestation.identities import Identity, read_identities
    from layerline.engine.attestation.keys import read_key, read_private_key
    from layerline.engine.attestation.policy import Policy, read_policy
    from layerline.engine.attestation.verification import Verification, verify_address
    from layerline.engine.cache.pruning import prune_cache
    from layerline.engine.image.manifests import COMPRESSIONS
    from layerline.engine.image.reference import Reference
    from layerline.engine.image.registry.client import is_loopback
    from layerline.engine.image.registry.credentials import Credentials, Login
    from layerline.engine.image.registry_server.server import TlsFiles, serve_images
    from layerline.engine.image.volume_artifact import Transfer, pull_volume, push_volume
    from layerline.engine.runtime.cgroups import sweep_dead_sessions
    from layerline.engine.solve.task_groups import task_group
    from layerline.engine.store.auto_pruning import prunable_size
    from layerline.engine.store.digest import digest_bytes, digest_of
    from layerline.engine.store.disk_errors import known_failure, write_errors
    from layerline.engine.store.format import has_store
    from layerline.engine.store.fsck import find_problems, find_unverified, record, repair
    from layerline.engine.store.pruning import prune
    from layerline.engine.store.store import Store
    from layerline.engine.store.usage import (
        ITEM_KINDS,
        VolumeUse,
        find_volumes,
        list_items,
        list_volumes,
    )
    from layerline.engine.store.volume_archive import export_volume, import_volume

__all__ = [
    "COMPRESSIONS",
    "ITEM_KINDS",
    "Comparison",
    "Credentials",
    "Identity",
    "Login",
    "Policy",
    "Reference",
    "Store",
    "Summary",
    "TlsFiles",
    "Transfer",
    "Verification",
    "VolumeUse",
    "attach_summary",
    "compare_address",
    "digest_bytes",
    "digest_of",
    "export_volume",
    "find_problems",
    "find_unverified",
    "find_volumes",
    "has_store",
    "import_volume",
    "is_loopback",
    "known_failure",
    "list_items",
    "list_volumes",
    "prunable_size",
    "prune",
    "prune_cache",
    "pull_volume",
    "push_volume",
    "read_identities",
    "read_key",
    "read_policy",
    "read_private_key",
    "record",
    "repair",
    "serve_images",
    "sweep_dead_sessions",
    "task_group",
    "verify_address",
    "write_errors",
]

_MODULES = {
    "Comparison": "attestation.comparison",
    "compare_address": "attestation.comparison",
    "Summary": "attestation.attaching",
    "attach_summary": "attestation.attaching",
    "Identity": "attestation.identities",
    "read_identities": "attestation.identities",
    "read_private_key": "attestation.keys",
    "Policy": "attestation.policy",
    "Verification": "attestation.verification",
    "read_key": "attestation.keys",
    "read_policy": "attestation.policy",
    "verify_address": "attestation.verification",
    "COMPRESSIONS": "image.manifests",
    "Credentials": "image.registry.credentials",
    "Login": "image.registry.credentials",
    "Reference": "image.reference",
    "Transfer": "image.volume_artifact",
    "pull_volume": "image.volume_artifact",
    "push_volume": "image.volume_artifact",
    "TlsFiles": "image.registry_server.server",
    "is_loopback": "image.registry.client",
    "serve_images": "image.registry_server.server",
    "ITEM_KINDS": "store.usage",
    "Store": "store.store",
    "VolumeUse": "store.usage",
    "digest_bytes": "store.digest",
    "digest_of": "store.digest",
    "export_volume": "store.volume_archive",
    "find_problems": "store.fsck",
    "find_unverified": "store.fsck",
    "find_volumes": "store.usage",
    "has_store": "store.format",
    "import_volume": "store.volume_archive",
    "known_failure": "store.disk_errors",
    "list_items": "store.usage",
    "list_volumes": "store.usage",
    "prunable_size": "store.auto_pruning",
    "prune": "store.pruning",
    "prune_cache": "cache.pruning",
    "record": "store.fsck",
    "repair": "store.fsck",
    "sweep_dead_sessions": "runtime.cgroups",
    "task_group": "solve.task_groups",
    "write_errors": "store.disk_errors",
}


def __getattr__(name: str) -> object:
    """Import an offered name on first use (PEP 562)."""
    if name not in _MODULES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
