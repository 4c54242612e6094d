"""All checks, in the order they run."""

from __future__ import annotations

from layerline.doctor.checks import (
    build_cache,
    builders,
    capabilities,
    context,
    disk,
    dockerfile,
    gpu,
    ignore,
    network,
    python,
    store,
    wsl,
)

CHECKS = (
    *wsl.CHECKS,
    *disk.CHECKS,
    *python.CHECKS,
    *capabilities.CHECKS,
    *gpu.CHECKS,
    *store.CHECKS,
    *ignore.CHECKS,
    *context.CHECKS,
    *dockerfile.CHECKS,
    *builders.CHECKS,
    *build_cache.CHECKS,
    *network.CHECKS,
)
