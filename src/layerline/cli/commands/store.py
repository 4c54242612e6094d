"""`store`: disk usage, verification and pruning; cache volumes as files."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from layerline import host, quantities
from layerline.argument_parser import ArgumentParser
from layerline.cli.display.help import columns
from layerline.engine import (
    ITEM_KINDS,
    Store,
    Transfer,
    VolumeUse,
    export_volume,
    find_problems,
    find_unverified,
    find_volumes,
    has_store,
    import_volume,
    list_items,
    list_volumes,
    prunable_size,
    prune,
    pull_volume,
    push_volume,
    record,
    repair,
    write_errors,
)
from layerline.errors import UsageError
from layerline.quantities import format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layerline.cli.console import Console

T = TypeVar("T")
_SHORT_HASH = 12


def store(console: Console, argv: Sequence[str]) -> int:
    """Run a subcommand; the exit code is 1 when `check` finds problems."""
    options = _parser(f"{console.program} store").parse_args(list(argv))
    host.become_root()  # of the store, whose files belong to many users
    status: int = options.run(console, options)
    return status


def parse_size(text: str) -> int:
    """Bytes from a size such as 10GB, 512MiB or 1000."""
    return _parse(quantities.parse_size, text)


def parse_kept(text: str) -> int:
    """A size with its unit: `10` might mean bytes or gigabytes, and what is removed is gone."""
    if text.strip() != "0" and text.strip().replace(".", "", 1).isdigit():
        message = (
            f"{text.strip()!r} has no unit: use {text.strip()}GB, or {text.strip()}B for bytes"
        )
        raise argparse.ArgumentTypeError(message)
    return parse_size(text)


def parse_duration(text: str) -> float:
    """Seconds from a duration such as 90s, 48h, 7d or 1d12h."""
    return _parse(quantities.parse_duration, text)


def _parse(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def _parser(program: str) -> ArgumentParser:
    about = "Inspect, verify and prune the store."
    parser = ArgumentParser(prog=program, description=about)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    df = commands.add_parser("df", help="show disk usage")
    df.set_defaults(run=_df)

    check = commands.add_parser("check", help="verify the store; exit with 1 if there are problems")
    check.add_argument("--deep", action="store_true", help="also verify all content")
    check.add_argument(
        "--repair", action="store_true", help="remove what is damaged and what is based on it"
    )
    check.set_defaults(run=_check)

    pruning = commands.add_parser("prune", help="remove the least recently used")
    size = "size of layers and blobs to keep, e.g. 10GB"
    pruning.add_argument("--keep-storage", metavar="SIZE", type=parse_kept, help=size)
    age = "keep what was created or used within this time, e.g. 48h or 7d"
    pruning.add_argument("--keep-duration", metavar="TIME", type=parse_duration, help=age)
    name = "only remove this cache volume; may be repeated"
    pruning.add_argument("--volume", metavar="NAME", action="append", default=[], help=name)
    pruning.add_argument("--dry-run", action="store_true", help="show what would be removed")
    pruning.set_defaults(run=_prune)

    listing = commands.add_parser("volumes", help="list cache volumes with size, hits and last use")
    listing.set_defaults(run=_volumes)

    _add_volume(commands)

    for each in (df, check, pruning, listing):
        each.add_argument("--json", action="store_true", help="print a JSON document")
    return parser


def _add_volume(commands: argparse._SubParsersAction[ArgumentParser]) -> None:
    """The subcommands of `volume`."""
    one = commands.add_parser("volume", help="export, import, push or pull a cache volume")
    actions = one.add_subparsers(required=True, metavar="ACTION")
    out = actions.add_parser("export", help="write a volume to an archive")
    out.add_argument("name")
    out.add_argument("file", type=Path, nargs="?", help="default: NAME.tar")
    out.set_defaults(run=_export)
    into = actions.add_parser("import", help="create a volume from an archive")
    into.add_argument("file", type=Path)
    into.add_argument("--replace", action="store_true", help="replace an existing volume")
    into.set_defaults(run=_import)
    push = actions.add_parser("push", help="send a volume to a registry, without what it has")
    push.add_argument("name")
    push.set_defaults(run=_push)
    pull = actions.add_parser("pull", help="create a volume from a registry")
    pull.add_argument("name")
    pull.add_argument("--replace", action="store_true", help="replace an existing volume")
    pull.set_defaults(run=_pull)
    for each in (push, pull):
        where = "repository, HOST/NAME (default: the first of the setting 'cache')"
        each.add_argument("--registry", metavar="REPOSITORY", help=where)


def _df(console: Console, options: argparse.Namespace) -> int:
    root = _root(console)
    found = list_items(root)
    rows = {f"{kind}s": [item.size for item in found if item.kind == kind] for kind in ITEM_KINDS}
    rows["index"] = [path.stat().st_size for path in root.glob("index.db*")]
    total = sum(map(sum, rows.values()))
    all_of_it = sum(rows["blobs"]) + sum(rows["snapshots"])
    by_itself = prunable_size(found, root, console.settings.storage) if found else 0
    if options.json:
        parts = {kind: {"count": len(each), "bytes": sum(each)} for kind, each in rows.items()}
        document = {"store": str(root), "bytes": total, "parts": parts}
        freed = {"prune": all_of_it, "automatic": by_itself}
        return _print_json(console, {**document, "would_free": freed})
    table = [("KIND", f"{'COUNT':>8}{'SIZE':>12}")]
    table += [(kind, f"{len(each):>8}{format_size(sum(each)):>12}") for kind, each in rows.items()]
    console.print(columns([*table, ("total", f"{'':>8}{format_size(total):>12}")]))
    console.print(
        f"'{console.program} store prune --keep-storage 0' would free {format_size(all_of_it)}, "
        f"automatic pruning {format_size(by_itself)}\n"
    )
    return 0


def _check(console: Console, options: argparse.Namespace) -> int:
    with Store.open(console.settings.store) as the_store:
        found = find_problems(the_store, deep=options.deep)
        based = repair(the_store, found) if options.repair else []
        unverified = find_unverified(the_store)
        if options.deep:
            record(the_store, unverified)
    status = int(bool(found) and not options.repair)
    if options.json:
        shown = [{"kind": each.kind, "name": each.name, "what": each.what} for each in found]
        document = {"problems": shown, "based_on_them": based, "unverified": unverified}
        _print_json(console, {"store": str(console.settings.store), **document})
        return status
    lines = [f"{each.kind} {each.name} {each.what}\n" for each in found]
    lines += [f"snapshot {name} was based on it and has been removed\n" for name in based]
    console.print("".join(lines) or "no problems found\n")
    if unverified:
        how = "recorded now" if options.deep else "'layerline store check --deep' records them"
        console.print(f"{len(unverified)} snapshots had no manifest to be verified with: {how}\n")
    return status


def _prune(console: Console, options: argparse.Namespace) -> int:
    keep = (options.keep_storage, options.keep_duration)
    if keep == (None, None) and not options.volume:
        message = "no limit given: use --keep-storage SIZE, --keep-duration TIME or --volume NAME"
        raise UsageError(message, usage=f"{console.program} store prune")
    root = _root(console)
    selected = {each.item.name for name in options.volume for each in _require_volumes(root, name)}
    gone = prune(
        root, keep_bytes=keep[0], keep_seconds=keep[1], volumes=selected, dry_run=options.dry_run
    )
    freed = sum(item.size for item in gone)
    if options.json:
        removed = [{"kind": i.kind, "name": i.name, "bytes": i.size} for i in gone]
        return _print_json(console, {"bytes": freed, "removed": removed})
    word = "would remove" if options.dry_run else "removed"
    lines = [f"{i.kind:10}{i.name[:_SHORT_HASH]:14}{format_size(i.size):>10}\n" for i in gone]
    console.print("".join(lines) + f"{word} {len(gone)} items, {format_size(freed)}\n")
    return 0


def _volumes(console: Console, options: argparse.Namespace) -> int:
    found = list_volumes(_root(console))
    if options.json:
        return _print_json(console, {"volumes": [_volume_document(each) for each in found]})
    rows = [("VOLUME", f"{'SIZE':>10}{'HITS':>8}  LAST USE")]
    for each in found:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(each.item.used))
        rows.append((each.key, f"{format_size(each.item.size):>10}{each.hits:>8}  {used}"))
    console.print(columns(rows))
    return 0


def _export(console: Console, options: argparse.Namespace) -> int:
    with Store.open(console.settings.store) as the_store:
        volume = _require_volume(the_store.root, options.name)
        target = console.workdir / (options.file or f"{volume.key}.tar")
        count = export_volume(the_store, volume, target)
    console.info(f"wrote {count} entries to {target}")
    return 0


def _import(console: Console, options: argparse.Namespace) -> int:
    with Store.open(console.settings.store) as the_store:
        path = console.workdir / options.file
        identity = import_volume(the_store, path, replace=options.replace)
    console.info(f"imported volume {identity}")
    return 0


def _push(console: Console, options: argparse.Namespace) -> int:
    place = _repository(console, options)
    with Store.open(console.settings.store) as the_store:
        volume = _require_volume(the_store.root, options.name)
        sent = push_volume(the_store, volume, place, console.settings)
    console.info(f"pushed volume {sent.identity} to {place}: {_new_chunks(sent)}")
    return 0


def _pull(console: Console, options: argparse.Namespace) -> int:
    place = _repository(console, options)
    with Store.open(console.settings.store) as the_store:
        got = pull_volume(the_store, options.name, place, console.settings, replace=options.replace)
    console.info(f"pulled volume {got.identity} from {place}: {_new_chunks(got)}")
    return 0


def _new_chunks(found: Transfer) -> str:
    return f"{found.new} of {found.chunks} chunks, {format_size(found.bytes)}"


def _repository(console: Console, options: argparse.Namespace) -> str:
    place: str = options.registry or next(iter(console.settings.cache.places), "")
    if not place:
        message = "no registry given: use --registry HOST/NAME, or the setting 'cache'"
        raise UsageError(message, usage=f"{console.program} store volume")
    return place


def _root(console: Console) -> Path:
    """The store, only read: this works on a full and on a read-only disk."""
    root = console.settings.store
    with write_errors("cannot read the store", root, store=root):
        has_store(root)
    return root


def _require_volumes(root: Path, name: str) -> list[VolumeUse]:
    found = find_volumes(root, name) if (root / "volumes").is_dir() else []
    if not found:
        message = f"unknown volume '{name}': list volumes with 'layerline store volumes'"
        raise UsageError(message)
    return found


def _require_volume(root: Path, name: str) -> VolumeUse:
    found = _require_volumes(root, name)
    if len(found) > 1:
        names = ", ".join(each.identity for each in found)
        message = f"ambiguous volume name '{name}': use one of {names}"
        raise UsageError(message)
    return found[0]


def _volume_document(volume: VolumeUse) -> dict[str, Any]:
    return {
        "key": volume.key,
        "identity": volume.identity,
        "bytes": volume.item.size,
        "hits": volume.hits,
        "last_use": volume.item.used,
    }


def _print_json(console: Console, document: dict[str, Any]) -> int:
    console.print(json.dumps(document, indent=2) + "\n")
    return 0
