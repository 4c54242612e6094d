"""Keys that sign what is published and that are believed, as the user sets them.

Key files are Ed25519 keys in PEM, as `openssl genpkey -algorithm ed25519` makes them. They are read
by the engine alone: no setting, variable or mount of a step or a module has them.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.errors import UsageError
from layerline.suggestion import did_you_mean
from layerline.text_file import reason_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_TRUST, _SIGN_WITH = "LAYERLINE_TRUST", "LAYERLINE_SIGN_WITH"
_KEYS = ("sign_with", "trust")
_TRUST_KEYS = ("key", "not_before", "revoked_from")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A public key, believed in what was signed from `not_before` on and before `revoked_from`.

    Both are in seconds since the epoch.
    """

    path: Path
    not_before: float = 0.0
    revoked_from: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """The private key to sign with, if any, and the public keys that are believed."""

    sign_with: Path | None = None
    trust: tuple[TrustedKey, ...] = ()

    @classmethod
    def read(
        cls, environ: Mapping[str, str], document: Mapping[str, object], config: Path
    ) -> Signing:
        """Read the variables, and `[signing]` of the settings file."""
        where = f"[signing] of {config}"
        table = _table(document.get("signing", {}), _KEYS, where)
        signs = environ.get(_SIGN_WITH)
        private = signs or str(table.get("sign_with", ""))
        named = environ.get(_TRUST)
        listed = table.get("trust", []) if named is None else [*filter(None, named.split(":"))]
        entries = listed if isinstance(listed, list) else [listed]
        return cls(
            sign_with=_path(private, _SIGN_WITH if signs else where) if private else None,
            trust=tuple(_trusted(each, where if named is None else _TRUST) for each in entries),
        )


def read_public_file(path: Path) -> bytes:
    """What is in the file of a public key. Raises UsageError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as exc:
        message = f"cannot read the key {path}: {reason_of(exc)}: name a file with a key in PEM"
        raise UsageError(message) from exc


def read_private_file(path: Path) -> bytes:
    """The same of a private key, which nobody else may be able to read."""
    data = read_public_file(path)
    if path.stat().st_mode & _OTHERS:
        message = f"others can read the key {path}: run 'chmod 600 {path}'"
        raise UsageError(message)
    return data


def signed_bytes(payload: bytes, kind: str) -> bytes:
    """What a signature is of: the payload with its type, each after its length (DSSE's PAE).

    https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
    """
    name = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)


def _table(value: object, known: tuple[str, ...], where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        message = f"invalid {where}: use a table with {', '.join(known)}"
        raise UsageError(message)
    for key in value:
        if key not in known:
            hint = did_you_mean(key, known) or f": use {', '.join(known)}"
            message = f"unknown key {key!r} in {where}{hint}"
            raise UsageError(message)
    return value


def _trusted(entry: object, where: str) -> TrustedKey:
    if isinstance(entry, str):
        return TrustedKey(path=_path(entry, where))
    table = _table(entry, _TRUST_KEYS, f"trust in {where}")
    revoked = table.get("revoked_from")
    return TrustedKey(
        path=_path(str(table.get("key", "")), where),
        not_before=_seconds(table.get("not_before", 0), where),
        revoked_from=None if revoked is None else _seconds(revoked, where),
    )


def _path(text: str, where: str) -> Path:
    path = Path(text).expanduser()
    if not path.is_absolute():
        message = f"invalid key file {text!r} in {where}: use an absolute path"
        raise UsageError(message)
    return path


def _seconds(value: object, where: str) -> float:
    """A date of TOML, or one as text in its form, as seconds since the epoch."""
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        if isinstance(value, date):
            return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
        if isinstance(value, int | float):
            return float(value)
    except ValueError:
        pass
    message = f"invalid time {value!r} in {where}: use a date, e.g. 2026-11-30"
    raise UsageError(message)
