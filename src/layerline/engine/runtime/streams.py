"""Where a program's standard streams come from and go to: bytes, or files of the container.

Invariant: redirects are regular files inside the container's root, 0600 when they are new. A device
there is never opened: the engine would open the host's.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from layerline.engine.runtime.capture import STDERR, STDOUT
from layerline.engine.runtime.confined_root import join

if TYPE_CHECKING:
    from contextlib import ExitStack

    from layerline.engine.runtime.root import Root
    from layerline.engine.runtime.spec import ContainerSpec

_NOWHERE = "/dev/null"  # /dev is not mounted yet when the files are opened


def open_stdin(spec: ContainerSpec, root: Root, stack: ExitStack) -> int | None:
    """A descriptor to read from, or None for nothing to read."""
    if spec.redirect_stdin not in (None, _NOWHERE):
        path = join(spec.cwd, str(spec.redirect_stdin))
        descriptor = root.inside.open_file(path, os.O_RDONLY)
    elif spec.stdin:
        descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
        with os.fdopen(os.dup(descriptor), "wb") as writer:
            writer.write(spec.stdin)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        return None
    stack.callback(os.close, descriptor)
    return descriptor


def open_redirects(spec: ContainerSpec, root: Root, stack: ExitStack) -> dict[int, int]:
    """Descriptors of the files that take the outputs as well, by stream."""
    redirects: dict[int, int] = {}
    for stream, path in ((STDOUT, spec.redirect_stdout), (STDERR, spec.redirect_stderr)):
        if path in (None, "", _NOWHERE):
            continue
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        descriptor = root.inside.open_file(join(spec.cwd, str(path)), flags, 0o600)
        stack.callback(os.close, descriptor)
        os.fchown(descriptor, root.user.uid, root.user.gid)
        redirects[stream] = descriptor
    return redirects
