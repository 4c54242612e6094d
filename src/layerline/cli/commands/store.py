"""`store`: how much is kept, whether it is whole, what to remove; cache volumes as files."""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerline.cli.display.help import columns
from layerline.engine import (
    ITEM_KINDS,
    Store,
    VolumeUse,
    export_volume,
    find_problems,
    find_volumes,
    import_volume,
    list_items,
    list_volumes,
    prune,
    repair,
)
from layerline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.cli.console import Console

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_TIME = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SHORT_HASH = 12


def store(console: Console, words: Sequence[str]) -> int:
    """Run a subcommand; 1 when `check` finds something."""
    options = _parser(f"{console.program} store").parse_args(list(words))
    status: int = options.run(console, options)
    return status


def bytes_of(text: str) -> int:
    """A size as users write it: 10GB, 512MiB, 1000."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        message = f"{text!r} is no size; write e.g. 10GB"
        raise argparse.ArgumentTypeError(message)
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** _POWERS[found[2].lower()])


def seconds_of(text: str) -> float:
    """A duration as users write it: 90s, 48h, 7d, 1d12h."""
    parts = _TIME.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        message = f"{text!r} is no duration; write e.g. 48h or 7d"
        raise argparse.ArgumentTypeError(message)
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _parser(program: str) -> argparse.ArgumentParser:
    about = "Look at, check and prune what Layerline keeps."
    parser = argparse.ArgumentParser(prog=program, description=about, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    df = commands.add_parser("df", help="how much of the disk is used, and by what")
    df.set_defaults(run=_df)

    check = commands.add_parser("check", help="whether everything is whole")
    check.add_argument("--deep", action="store_true", help="also read the bytes of every blob")
    check.add_argument("--repair", action="store_true", help="remove what is damaged")
    check.set_defaults(run=_check)

    pruning = commands.add_parser("prune", help="remove what is oldest")
    size = "keep this much of layers and blobs, e.g. 10GB"
    pruning.add_argument("--keep-storage", metavar="SIZE", type=bytes_of, help=size)
    age = "keep what was made or used within this time, e.g. 48h or 7d"
    pruning.add_argument("--keep-duration", metavar="TIME", type=seconds_of, help=age)
    name = "remove this cache volume and nothing else; may be repeated"
    pruning.add_argument("--volume", metavar="NAME", action="append", default=[], help=name)
    pruning.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    pruning.set_defaults(run=_prune)

    listing = commands.add_parser(
        "volumes", help="the cache volumes, their size, hits and last use"
    )
    listing.set_defaults(run=_volumes)

    one = commands.add_parser("volume", help="export a cache volume into a file, or import one")
    actions = one.add_subparsers(required=True, metavar="ACTION")
    out = actions.add_parser("export", help="write a volume into a file")
    out.add_argument("name")
    out.add_argument("file", type=Path, nargs="?", help="default: NAME.tar")
    out.set_defaults(run=_export)
    into = actions.add_parser("import", help="make a volume from a file")
    into.add_argument("file", type=Path)
    into.add_argument(
        "--replace", action="store_true", help="put it in the place of one that is here"
    )
    into.set_defaults(run=_import)

    for each in (df, check, pruning, listing):
        each.add_argument("--json", action="store_true", help="print a JSON document")
    return parser


def _df(console: Console, options: argparse.Namespace) -> int:
    with Store.open(console.settings.store) as opened:
        found = list_items(opened.root)
        rows = {
            f"{kind}s": [item.size for item in found if item.kind == kind] for kind in ITEM_KINDS
        }
        rows["index"] = [path.stat().st_size for path in opened.root.glob("index.db*")]
    total = sum(map(sum, rows.values()))
    if options.json:
        parts = {kind: {"count": len(each), "bytes": sum(each)} for kind, each in rows.items()}
        document = {"store": str(console.settings.store), "bytes": total, "parts": parts}
        return _print_json(console, document)
    table = [("KIND", f"{'COUNT':>8}{'SIZE':>12}")]
    table += [(kind, f"{len(each):>8}{shown_size(sum(each)):>12}") for kind, each in rows.items()]
    console.print(columns([*table, ("total", f"{'':>8}{shown_size(total):>12}")]))
    return 0


def _check(console: Console, options: argparse.Namespace) -> int:
    with Store.open(console.settings.store) as opened:
        found = find_problems(opened, deep=options.deep)
        if options.repair:
            repair(opened, found)
    if options.json:
        shown = [{"kind": each.kind, "name": each.name, "what": each.what} for each in found]
        _print_json(console, {"store": str(console.settings.store), "problems": shown})
    else:
        lines = [f"{each.kind} {each.name} {each.what}\n" for each in found]
        console.print("".join(lines) or f"{console.settings.store} is whole.\n")
    return int(bool(found) and not options.repair)


def _prune(console: Console, options: argparse.Namespace) -> int:
    keep = (options.keep_storage, options.keep_duration)
    if keep == (None, None) and not options.volume:
        message = "say what to keep: --keep-storage SIZE, --keep-duration TIME or --volume NAME"
        raise UsageError(message, usage=f"{console.program} store prune")
    root = console.settings.store
    wanted = {each.item.name for name in options.volume for each in _named(root, name)}
    gone = prune(
        root, keep_bytes=keep[0], keep_seconds=keep[1], volumes=wanted, dry_run=options.dry_run
    )
    freed = sum(item.size for item in gone)
    if options.json:
        removed = [{"kind": i.kind, "name": i.name, "bytes": i.size} for i in gone]
        return _print_json(console, {"bytes": freed, "removed": removed})
    word = "would be removed" if options.dry_run else "removed"
    lines = [f"{i.kind:10}{i.name[:_SHORT_HASH]:14}{shown_size(i.size):>10}\n" for i in gone]
    console.print("".join(lines) + f"{len(gone)} things with {shown_size(freed)} {word}\n")
    return 0


def _volumes(console: Console, options: argparse.Namespace) -> int:
    with Store.open(console.settings.store) as opened:
        found = list_volumes(opened.root)
    if options.json:
        return _print_json(console, {"volumes": [_described(each) for each in found]})
    rows = [("VOLUME", f"{'SIZE':>10}{'HITS':>8}  LAST USE")]
    for each in found:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(each.item.used))
        rows.append((each.key, f"{shown_size(each.item.size):>10}{each.hits:>8}  {used}"))
    console.print(columns(rows))
    return 0


def _export(console: Console, options: argparse.Namespace) -> int:
    with Store.open(console.settings.store) as opened:
        found = _named(opened.root, options.name)
        if len(found) > 1:
            names = ", ".join(each.identity for each in found)
            message = f"{options.name} is the name of several volumes; name one of: {names}"
            raise UsageError(message)
        target = console.workdir / (options.file or f"{found[0].key}.tar")
        count = export_volume(opened, found[0], target)
    console.tell(f"wrote {count} entries to {target}")
    return 0


def _import(console: Console, options: argparse.Namespace) -> int:
    with Store.open(console.settings.store) as opened:
        path = console.workdir / options.file
        identity = import_volume(opened, path, replace=options.replace)
    console.tell(f"made the volume {identity}")
    return 0


def _named(root: Path, name: str) -> list[VolumeUse]:
    found = find_volumes(root, name) if (root / "volumes").is_dir() else []
    if not found:
        message = f"there is no volume {name}; `store volumes` lists them"
        raise UsageError(message)
    return found


def _described(volume: VolumeUse) -> dict[str, Any]:
    return {
        "key": volume.key,
        "identity": volume.identity,
        "bytes": volume.item.size,
        "hits": volume.hits,
        "last_use": volume.item.used,
    }


def shown_size(size: float) -> str:
    """A size for people, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def _print_json(console: Console, document: dict[str, Any]) -> int:
    console.print(json.dumps(document, indent=2) + "\n")
    return 0
