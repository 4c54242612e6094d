"""Errors with more around their message; they keep their exit code and what an exec wrote."""

from __future__ import annotations

from layerline.errors import ExecError, LayerlineError


class _PrefixedError(LayerlineError):
    """A failure whose message says where it happened."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def prefixed(where: str, error: LayerlineError) -> LayerlineError:
    """The error with `where` in front of its message."""
    message = f"{where}: {error}"
    if isinstance(error, ExecError):
        return ExecError(
            command=error.command,
            code=error.code,
            stdout=error.stdout,
            stderr=error.stderr,
            message=message,
        )
    return _PrefixedError(message, error.exit_code)
