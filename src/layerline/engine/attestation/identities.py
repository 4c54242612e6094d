"""Identities that are believed: those in certificates of Fulcio, by the package `sigstore`.

It is imported where an identity is given, and refused by name where it is not installed.

https://docs.sigstore.dev/certificate_authority/oidc-in-fulcio/
https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_trustroot.proto
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layerline.errors import HostError, UsageError

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

_LONGEST = 300  # characters of a reason, which may quote what is attached


class NotSigned(Exception):
    """No trusted identity has signed a bundle; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who signs: the subject of a certificate and the URL of who gave the token, both exactly."""

    subject: str
    issuer: str

    @property
    def name(self) -> str:
        return f"{self.subject} ({self.issuer})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identities:
    """Identities, and the library's verifier with the keys of the services that are trusted."""

    trusted: tuple[Identity, ...]
    verifier: Any

    def verify(self, bundle: bytes) -> tuple[Identity, datetime]:
        """Who of them signed the envelope of a bundle, and until when the certificate was valid.

        Checks the certificate's chain and the timestamp in it, the log's proof and promise, that
        the signature was logged while the certificate was valid, and the signature. Raises
        NotSigned.
        """
        from sigstore.models import Bundle

        accepted = _Accepted(self.trusted)
        try:
            parsed = Bundle.from_json(bundle)
            self.verifier.verify_dsse(parsed, accepted)
            until: datetime = parsed.signing_certificate.not_valid_after_utc
        except Exception as exc:  # the bytes are from outside: whatever is raised is a refusal
            raise NotSigned(_shown(str(exc) or type(exc).__name__)) from exc
        assert accepted.found is not None
        return accepted.found, until


class _Accepted:
    """A policy of the library: one of several identities; `found` is the one of a certificate."""

    def __init__(self, trusted: tuple[Identity, ...]) -> None:
        self.trusted = trusted
        self.found: Identity | None = None

    def verify(self, cert: Any) -> None:  # noqa: ANN401 - the library's protocol
        """Raise the library's error about the last identity if the certificate is of none."""
        from sigstore.errors import VerificationError
        from sigstore.verify import policy

        last = VerificationError("no identity is trusted")
        for each in self.trusted:
            try:
                policy.Identity(identity=each.subject, issuer=each.issuer).verify(cert)
            except VerificationError as exc:
                last = exc
            else:
                self.found = each
                return
        raise last


def read_identities(trusted: tuple[Identity, ...], root: Path) -> Identities:
    """Identities with the trusted root in a file, which has the keys of Fulcio and Rekor.

    Raises UsageError for a file that has none, and HostError without the package `sigstore`.
    """
    try:
        from sigstore.models import TrustedRoot
        from sigstore.verify import Verifier
    except ImportError as exc:
        message = (
            "signatures of identities are verified by the package sigstore, which is not "
            f"installed: install it with 'uv pip install --python={sys.executable} sigstore'"
        )
        raise HostError(message) from exc
    try:
        verifier = Verifier(trusted_root=TrustedRoot.from_file(str(root)))
    except OSError as exc:
        message = f"cannot read the trusted root {root}: {exc.strerror}"
        raise UsageError(message) from exc
    except Exception as exc:  # the library's, pydantic's and cryptography's own
        message = (
            f"{root} is not a trusted root of sigstore: {_shown(str(exc))}: write it with "
            "'cosign trusted-root create', or as docs/how-to/verify.md has it"
        )
        raise UsageError(message) from exc
    return Identities(trusted=trusted, verifier=verifier)


def _shown(text: str) -> str:
    """The beginning of a text in one line, without control characters."""
    line = "".join(each if each.isprintable() else " " for each in text)
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"
