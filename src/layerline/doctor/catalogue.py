"""All checks, in the order they run."""

from __future__ import annotations

from layerline.doctor.checks import (
    build_cache,
    build_context,
    builders,
    capabilities,
    disk,
    dockerfile,
    gpu,
    ignore,
    network,
    python,
    rootless,
    step_limits,
    store,
    wsl,
)

CHECKS = (
    *wsl.CHECKS,
    *disk.CHECKS,
    *python.CHECKS,
    *capabilities.CHECKS,
    *rootless.CHECKS,
    *step_limits.CHECKS,
    *gpu.CHECKS,
    *store.CHECKS,
    *ignore.CHECKS,
    *build_context.CHECKS,
    *dockerfile.CHECKS,
    *builders.CHECKS,
    *build_cache.CHECKS,
    *network.CHECKS,
)
