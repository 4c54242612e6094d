"""Every failure that Layerline shows to a user, drawn as a tree.

    LayerlineError                  exit code 1
    ├── UsageError                  a wrong flag, argument or function name
    ├── NotSupported                an API field that the embedded engine refuses by name
    ├── CommandFailed               a program of the host failed
    ├── HostError                   the machine lacks something
    │   ├── ProgramMissing          exit code 4
    │   ├── RuntimeMissing          exit code 5
    │   ├── PrivilegeMissing        exit code 6
    │   └── NoSpace                 exit code 7
    ├── StoreError                  the store cannot be used as it is
    │   ├── StoreVersion            made by another version of Layerline
    │   ├── StoreDamaged            bytes do not match their digest
    │   ├── NotFetched              the registry cache does not give what it has recorded
    │   └── StoreBusy               somebody else holds a lock for too long
    ├── PathError                   a path inside a tree (wire text as POSIX says it)
    │   ├── PathNotFound
    │   ├── NotADirectory
    │   ├── IsADirectory
    │   └── PathExists
    ├── ImageError                  images, registries, archives
    │   ├── InvalidReference
    │   ├── ImageNotFound
    │   ├── RegistryUnreachable
    │   ├── RegistryDenied
    │   ├── RegistryTimeout
    │   ├── ArchiveInvalid          hostile or broken bytes, refused
    │   ├── BootstrapFailed
    │   └── NotVerified             exit code 8
    ├── EditRefused                 a user's file that the doctor must not change
    ├── UnknownUser                 a user or group that the container does not have
    ├── SecretError                 a secret that cannot be read
    ├── QueryError                  a request that the API refuses
    ├── ModuleError                 a module that cannot be loaded
    ├── FunctionFailed              a module's function returned an error
    ├── Cancelled                   exit code 2
    └── ExecError                   a container's process failed: its own exit code

The class sets the exit code and the wire type; the message says what happened, why, and what to do
next.
"""

from __future__ import annotations

from typing import ClassVar


class LayerlineError(Exception):
    """A failure to be shown to the user as its message; the class sets the exit code."""

    exit_code: int = 1

    def extensions(self) -> dict[str, object]:
        """What goes into `errors[].extensions` of a GraphQL answer; empty means absent."""
        return {}


class UsageError(LayerlineError):
    """The command line was not understood.

    `usage` is the command whose --help to show.
    """

    def __init__(self, message: str, *, usage: str | None = None) -> None:
        super().__init__(message)
        self.usage = usage


class NotSupported(LayerlineError):
    """A field of the API that the embedded engine does not implement."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is not supported by the embedded engine")


class CommandFailed(LayerlineError):
    """A program of the host ended with another status than was expected."""

    def __init__(self, argv: tuple[str, ...], status: int, stderr: str) -> None:
        tail = "\n".join(stderr.strip().splitlines()[-20:])
        super().__init__(f"{argv[0]} ended with status {status}" + (f": {tail}" if tail else ""))
        self.argv = argv
        self.status = status
        self.stderr = stderr


class HostError(LayerlineError):
    """The machine lacks something that Layerline needs."""


class ProgramMissing(HostError):
    """A program is not installed."""

    exit_code = 4


class RuntimeMissing(HostError):
    """No OCI runtime works here."""

    exit_code = 5


class PrivilegeMissing(HostError):
    """The process may not do what building images needs."""

    exit_code = 6


class NoSpace(HostError):
    """The disk is full."""

    exit_code = 7


class StoreError(LayerlineError):
    """The store cannot be used as it is."""


class StoreVersion(StoreError):
    """The store was made by another version of Layerline."""


class StoreDamaged(StoreError):
    """Bytes in the store do not match what was recorded of them."""


class NotFetched(StoreError):
    """Bytes that a record of the registry cache names could not be fetched."""


class StoreBusy(StoreError):
    """A lock was not acquired in time."""


class PathError(LayerlineError):
    """A path inside a tree of files."""


class PathNotFound(PathError):
    """Nothing is at the path."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path}: no such file or directory")


class NotADirectory(PathError):
    """A file is where a directory is needed."""


class IsADirectory(PathError):
    """A directory is where a file is needed."""


class PathExists(PathError):
    """The path exists already."""


class ImageError(LayerlineError):
    """An image, a registry or an archive."""


class InvalidReference(ImageError):
    """The text is not an image reference."""


class ImageNotFound(ImageError):
    """No source has the image."""


class RegistryUnreachable(ImageError):
    """The registry does not answer."""


class RegistryDenied(ImageError):
    """The registry refuses the credentials, or wants some."""


class RegistryTimeout(ImageError):
    """The registry did not answer in time."""


class ArchiveInvalid(ImageError):
    """An archive, manifest or layer that is broken or hostile; nothing of it was used."""


class BootstrapFailed(ImageError):
    """A base image could not be made from the distribution's packages."""


class NotVerified(ImageError):
    """An image is not what somebody trusted has said of it."""

    exit_code = 8


class EditRefused(LayerlineError):
    """A file of the user that is not as it must be to be changed safely."""


class UnknownUser(LayerlineError):
    """A user or group that is neither a number nor listed in the container."""


class SecretError(LayerlineError):
    """A secret that cannot be read."""


class QueryError(LayerlineError):
    """A request that the API refuses."""


class ModuleError(LayerlineError):
    """A module that cannot be loaded."""


class FunctionFailed(LayerlineError):
    """A module's function returned an error; `values` are what it attached."""

    def __init__(
        self, message: str, *, values: dict[str, object] | None = None, exit_code: int = 1
    ) -> None:
        super().__init__(message)
        self.values = values or {}
        self.exit_code = exit_code

    def extensions(self) -> dict[str, object]:
        """The attached values: with them an ExecError travels through nested modules."""
        return dict(self.values)


class Cancelled(LayerlineError):
    """The user interrupted the call."""

    exit_code = 2


class ExecError(LayerlineError):
    """A container's process ended with an exit code that was not expected.

    `stdout` and `stderr` are scrubbed of secrets, trimmed, and hold at most the last 100 KiB.
    """

    wire_type: ClassVar[str] = "EXEC_ERROR"

    def __init__(
        self,
        *,
        command: tuple[str, ...],
        code: int,
        stdout: str,
        stderr: str,
        message: str | None = None,
    ) -> None:
        super().__init__(message or f"exit code: {code}")
        self.command = command
        self.code = code
        self.stdout = stdout
        self.stderr = stderr
        self.exit_code = code if 0 < code < 256 else 1

    def extensions(self) -> dict[str, object]:
        """The five members that SDKs turn into their ExecError."""
        return {
            "_type": self.wire_type,
            "cmd": list(self.command),
            "exitCode": self.code,
            "stdout": self.stdout,
            "stderr": self.stderr,
        }
