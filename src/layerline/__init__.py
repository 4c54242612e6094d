"""Layerline: machine-learning images built, validated, tested and shipped from Python functions.

Everything is imported on first use: a module's container has only this file and `pipeline/`, and
the doctor runs on Python 3.9 without the tool's dependencies.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from layerline.engine.connection import Connection, connect
    from layerline.errors import (
        ArchiveInvalid,
        BootstrapFailed,
        Cancelled,
        CommandFailed,
        EditRefused,
        ExecError,
        FunctionFailed,
        HostError,
        ImageError,
        ImageNotFound,
        InvalidReference,
        IsADirectory,
        LayerlineError,
        ModuleError,
        NoSpace,
        NotADirectory,
        NotFetched,
        NotSupported,
        NotVerified,
        PathError,
        PathExists,
        PathNotFound,
        PrivilegeMissing,
        ProgramMissing,
        QueryError,
        RegistryDenied,
        RegistryTimeout,
        RegistryUnreachable,
        RuntimeMissing,
        SecretError,
        StoreBusy,
        StoreDamaged,
        StoreError,
        StoreVersion,
        UnknownUser,
        UsageError,
    )

__version__ = "0.1.0"

__all__ = [
    "ArchiveInvalid",
    "BootstrapFailed",
    "Cancelled",
    "CommandFailed",
    "Connection",
    "EditRefused",
    "ExecError",
    "FunctionFailed",
    "HostError",
    "ImageError",
    "ImageNotFound",
    "InvalidReference",
    "IsADirectory",
    "LayerlineError",
    "ModuleError",
    "NoSpace",
    "NotADirectory",
    "NotFetched",
    "NotSupported",
    "NotVerified",
    "PathError",
    "PathExists",
    "PathNotFound",
    "PrivilegeMissing",
    "ProgramMissing",
    "QueryError",
    "RegistryDenied",
    "RegistryTimeout",
    "RegistryUnreachable",
    "RuntimeMissing",
    "SecretError",
    "StoreBusy",
    "StoreDamaged",
    "StoreError",
    "StoreVersion",
    "UnknownUser",
    "UsageError",
    "__version__",
    "connect",
]


def __getattr__(name: str) -> object:
    """Import a public name on first use (PEP 562)."""
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    home = "engine.connection" if name in {"Connection", "connect"} else "errors"
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
