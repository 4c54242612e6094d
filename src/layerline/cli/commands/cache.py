"""`cache`: the results that are shared in a registry."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from layerline.argument_parser import ArgumentParser
from layerline.cli.commands.store import parse_duration, parse_kept
from layerline.engine import prune_cache
from layerline.errors import UsageError
from layerline.quantities import format_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.cli.console import Console


def cache(console: Console, argv: Sequence[str]) -> int:
    """Run a subcommand."""
    options = _parser(f"{console.program} cache").parse_args(list(argv))
    if options.keep_storage is None and options.keep_duration is None:
        message = "no limit given: use --keep-duration=30d, --keep-storage=50GB, or both"
        raise UsageError(message, usage=f"{console.program} cache prune")
    chosen = console.settings.cache.chosen(options.cache, waits=True)
    removed, found, freed = prune_cache(
        replace(console.settings, cache=chosen),
        keep_bytes=options.keep_storage,
        keep_seconds=options.keep_duration,
        keep_images=options.keep_image,
        dry_run=options.dry_run,
    )
    verb = "would remove" if options.dry_run else "removed"
    console.print(
        f"{verb} {removed} of {found} results; {format_size(freed)} of layers are free "
        "once the registry has collected its garbage\n"
    )
    return 0


def _parser(program: str) -> ArgumentParser:
    about = "Inspect and prune the results that are shared in a registry."
    parser = ArgumentParser(prog=program, description=about)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    pruning = commands.add_parser("prune", help="remove what was used longest ago")
    size = "size of layers to keep, e.g. 50GB"
    pruning.add_argument("--keep-storage", metavar="SIZE", type=parse_kept, help=size)
    age = "keep what was written or used within this time, e.g. 30d"
    pruning.add_argument("--keep-duration", metavar="TIME", type=parse_duration, help=age)
    kept = "keep what this image is made of; of all images without a tag; may be repeated"
    pruning.add_argument(
        "--keep-image", metavar="HOST/REPOSITORY[:TAG]", action="append", default=[], help=kept
    )
    place = "the repository, instead of that of the settings"
    pruning.add_argument("--cache", metavar="HOST/REPOSITORY", help=place)
    pruning.add_argument("--dry-run", action="store_true", help="show what would be removed")
    return parser
