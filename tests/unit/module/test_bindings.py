"""A module's client has no way to the host."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from layerline.engine.module.bindings import without_host

SOURCE = '''\
class HostID(Scalar):
    """An id."""


@typecheck
class Host(Type):
    def directory(self) -> "Directory": ...


class Client(Root):
    def container(self) -> Container: ...

    def host(self) -> Host:
        return Host(self)

    @deprecated
    def load_host_from_id(self, id: HostID) -> "Host":
        return Host(self)

    def http(self) -> File: ...


__all__ = [
    "Client",
    "Host",
    "HostID",
]
'''


def test_the_hosts_types_and_what_returns_them_are_gone() -> None:
    text = without_host(SOURCE)
    assert "Host" not in text
    assert "@typecheck" not in text
    assert "@deprecated" not in text
    assert "def container" in text
    assert "def http" in text
    assert '"Client",' in text
    compile(text, "gen.py", "exec")


def test_the_client_of_the_installed_sdk_stays_whole() -> None:
    spec = find_spec("dagger")
    assert spec is not None
    assert spec.origin is not None
    text = without_host((Path(spec.origin).parent / "client" / "gen.py").read_text())
    compile(text, "gen.py", "exec")
    assert "def host(" not in text
    assert "def engine(" not in text
    assert "def container(" in text
