"""The container of a module's code: this machine's language, the module, and nothing else of it.

It has no image: the programs and libraries of this system or of a bootstrapped one, the
interpreter, the environment and the source are mounted read-only into a root of empty directories,
which is thrown away after the call.
"""

from __future__ import annotations

import contextlib
import posixpath
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.engine.runtime.spec import Bind, ContainerSpec, Overlay

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from layerline.settings import Settings

WORKDIR = "/scratch"
VENV = "/opt/venv"
_OWN_BUNDLE = "/etc/ssl/layerline.pem"  # of a user who named another than the system's
# Those that are links on a system with a merged /usr are links here as well.
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_CERTIFICATES = ("/etc/ssl/certs", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted")
_LINKERS = ("/etc/ld.so.conf.d", "/etc/alternatives")
_OF_THE_LINKER = ("/etc/ld.so.cache", "/etc/ld.so.conf")
_OF_THE_HOST = ("/etc/localtime", "/etc/mime.types")
_WRITTEN = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
_HOST = Path("/")
_DIRECTORIES = ("tmp", "var/tmp", "root", "scratch")


def describe_container(
    place: Path,
    argv: Sequence[str],
    *,
    environ: Mapping[str, str],
    binds: Iterable[Bind],
    settings: Settings,
    system: Path | None = None,
) -> ContainerSpec:
    """A container over an empty root; `place` is an empty directory that holds what it writes.

    `system` is the root of a bootstrapped system whose programs it has; by default this machine's.
    """
    root, upper, work = (place / name for name in ("root", "fs", "work"))
    for directory in (root, upper, work):
        directory.mkdir(mode=0o755)
    _furnish(root, system or _HOST)
    variables = dict(environ)
    mounts = [*_system_binds(root, system or _HOST), *binds]
    bundle = settings.ca_bundle
    if bundle is not None and not str(bundle.resolve()).startswith(_CERTIFICATES):
        mounts.append(Bind(target=_OWN_BUNDLE, source=bundle, readonly=True))
        variables["SSL_CERT_FILE"] = _OWN_BUNDLE
    return ContainerSpec(
        rootfs=Overlay(lower=(root,), upper=upper, work=work),
        argv=tuple(argv),
        env=tuple(variables.items()),
        cwd=WORKDIR,
        mounts=tuple(_outermost(mounts)),
        same_ids=True,
    )


def _furnish(root: Path, system: Path) -> None:
    for name in _DIRECTORIES:
        (root / name).mkdir(parents=True)
    for name in ("tmp", "var/tmp"):
        (root / name).chmod(0o1777)
    (root / "etc").mkdir()
    for name, text in _WRITTEN.items():
        (root / name).write_text(text)
    copied = {**dict.fromkeys(_OF_THE_LINKER, system), **dict.fromkeys(_OF_THE_HOST, _HOST)}
    for path, origin in copied.items():
        with contextlib.suppress(FileNotFoundError):  # no system has them all
            shutil.copy(origin / path[1:], root / path[1:])


def _system_binds(root: Path, system: Path) -> Iterator[Bind]:
    """The system's programs, and the certificates of this machine."""
    origins = {
        **dict.fromkeys((*_SYSTEM, *_LINKERS), system),
        **dict.fromkeys(_CERTIFICATES, _HOST),
    }
    for path, origin in origins.items():
        source = origin / path[1:]
        if source.is_symlink() and source.parent == origin:
            (root / source.name).symlink_to(source.readlink())
        elif source.exists():
            yield Bind(target=path, source=source.resolve(), readonly=True)


def _outermost(binds: Sequence[Bind]) -> Iterator[Bind]:
    """Leave out what a bound parent shows already (an interpreter below /usr)."""
    shown = {bind.target for bind in binds if str(bind.source) == bind.target}
    for bind in binds:
        parents = {str(parent) for parent in Path(posixpath.normpath(bind.target)).parents}
        if not (str(bind.source) == bind.target and parents & shown):
            yield bind
