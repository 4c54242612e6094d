"""`verify`: whether an image in a registry is what somebody trusted has said of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.argument_parser import ArgumentParser
from layerline.cli.commands.rebuilding import rebuild
from layerline.engine import (
    Identity,
    Policy,
    Summary,
    Verification,
    attach_summary,
    read_identities,
    read_key,
    read_policy,
    read_private_key,
    verify_address,
)
from layerline.errors import NotVerified, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from layerline.cli.console import Console
    from layerline.engine.attestation.identities import Identities
    from layerline.engine.attestation.keys import PrivateKey, PublicKey

_VERIFIER = "urn:layerline:verifier:local"
_ABOUT = (
    "Verify the image at an address: its signed provenance, results of probes and bills of "
    "materials, its parts by their digests, and a policy. Exits with 8 if it does not hold."
)


def verify(console: Console, argv: Sequence[str]) -> int:
    """Verify an image; exit with 8 if it is not what was said of it."""
    parser = _parser(f"{console.program} verify")
    own = list(argv[: argv.index("--")] if "--" in argv else argv)
    arguments = list(argv[len(own) + 1 :])
    options = parser.parse_args(own)
    if not options.rebuild and (arguments or options.source or options.store):
        message = "--source, --store and arguments after -- are those of --rebuild: add it"
        raise UsageError(message, usage=parser.prog)
    policy = _policy(console, options, parser.prog)
    key = _signing_key(console, options, parser.prog)
    found = verify_address(console.settings, options.address, policy)
    for note in found.notes:
        console.info(f"note: {note}")
    _refuse(options.address, found.problems)
    report = _report(options.address, found)
    if options.rebuild:
        compared = rebuild(
            console,
            options.address,
            found,
            source=options.source,
            store=options.store,
            arguments=arguments,
        )
        _refuse(options.address, tuple(compared.problems))
        report += "".join(
            f"  layer {each.number}: {each.state}, {each.published}\n" for each in compared.layers
        )
    if key is not None:
        summary = Summary(verifier=options.verifier, is_rebuilt=options.rebuild)
        made = attach_summary(console.settings, options.address, found, summary, key)
        report += f"  attached: {made}\n"
    console.print(report)
    return 0


def _signing_key(console: Console, options: argparse.Namespace, usage: str) -> PrivateKey | None:
    """The key for --attest: that of the flag, or of the settings."""
    if not options.attest:
        return None
    path = options.sign_key or console.settings.signing.sign_with
    if path is None:
        message = (
            "no key to sign with: give --sign-key=FILE.pem, or sign_with in [signing] of "
            f"{console.settings.config}"
        )
        raise UsageError(message, usage=usage)
    return read_private_key(console.workdir / path)


def _refuse(address: str, problems: Sequence[str]) -> None:
    """Raise NotVerified if there is a problem."""
    if problems:
        lines = "".join(f"\n  {each}" for each in problems)
        message = f"{address} is not verified:{lines}"
        raise NotVerified(message)


def _policy(console: Console, options: argparse.Namespace, usage: str) -> Policy:
    """The policy of the flags and of the file.

    Without any key or identity, the keys are those of the settings.
    """
    policy = Policy()
    if options.policy is not None:
        policy = read_policy(console.workdir / options.policy)
    named = tuple(read_key(console.workdir / path) for path in options.key)
    identities = (*_identities(console, options, usage), *policy.identities)
    keys = (*named, *policy.keys)
    if not keys and not identities:
        keys = _of_settings(console)
    if not keys and not identities:
        message = (
            "no key to verify with: give --key=PUBLIC.pem, --identity with --issuer, keys or "
            f"identities in --policy=FILE, or trust in [signing] of {console.settings.config}"
        )
        raise UsageError(message, usage=usage)
    return replace(policy, keys=keys, identities=identities)


def _identities(
    console: Console, options: argparse.Namespace, usage: str
) -> tuple[Identities, ...]:
    """The identity of the flags, which are given together or not at all."""
    given = (options.identity, options.issuer, options.trusted_root)
    if not any(given):
        return ()
    if not all(given):
        message = "--identity, --issuer and --trusted-root are given together"
        raise UsageError(message, usage=usage)
    identity = Identity(subject=options.identity, issuer=options.issuer)
    return (read_identities((identity,), console.workdir / options.trusted_root),)


def _of_settings(console: Console) -> tuple[PublicKey, ...]:
    return tuple(
        read_key(each.path, not_before=each.not_before, revoked_from=each.revoked_from)
        for each in console.settings.signing.trust
    )


def _report(address: str, found: Verification) -> str:
    assert found.provenance is not None
    lines = [f"{address}: verified", f"  digest: {found.subject.digest}"]
    lines += [f"  {name}: {value}" for name, value in found.facts().items()]
    return "\n".join(lines) + "\n"


def _parser(program: str) -> ArgumentParser:
    parser = ArgumentParser(prog=program, description=_ABOUT)
    address = "registry/repository:tag, or with @sha256:… instead of the tag"
    parser.add_argument("address", metavar="ADDRESS", help=address)
    key = "public key in PEM that must have signed; may be given several times"
    parser.add_argument(
        "--key", metavar="PUBLIC.pem", action="append", type=Path, default=[], help=key
    )
    identity = "the identity that must have signed, as its certificate names it"
    parser.add_argument("--identity", metavar="SUBJECT", help=identity)
    issuer = "who gave that identity its token"
    parser.add_argument("--issuer", metavar="URL", help=issuer)
    root = "the keys of Fulcio and Rekor that are trusted for --identity (trusted_root.json)"
    parser.add_argument("--trusted-root", metavar="FILE", type=Path, help=root)
    policy = (
        "file in TOML with keys, identities, bases, builders, probes, max_age_days and min_version"
    )
    parser.add_argument("--policy", metavar="FILE", type=Path, help=policy)
    again = "build the layers again and compare; what follows -- goes to `call`, e.g. --wheelhouse"
    parser.add_argument("--rebuild", action="store_true", help=again)
    source = "the source to rebuild from (default: git at the commit that the provenance names)"
    parser.add_argument("--source", metavar="DIR", type=Path, help=source)
    store = "the store to rebuild in: what it has is not built (default: that of the settings)"
    parser.add_argument("--store", metavar="DIR", type=Path, help=store)
    attest = "sign what was found, and attach it to the image as a statement of your own"
    parser.add_argument("--attest", action="store_true", help=attest)
    signing = "private key in PEM for --attest (default: sign_with of the settings)"
    parser.add_argument("--sign-key", metavar="FILE", type=Path, help=signing)
    verifier = f"URI of who verifies, for --attest (default: {_VERIFIER})"
    parser.add_argument("--verifier", metavar="URI", default=_VERIFIER, help=verifier)
    return parser
