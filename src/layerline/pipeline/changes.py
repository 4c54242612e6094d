"""Describes the difference between two states of the same values or files.

Invariant: a description is short, however much has changed.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence

import anyio
import dagger

Value = str | Sequence[str]
Files = Mapping[str, Mapping[str, str]]
MOST_FILES = 200
MOST_NAMED = 8
LONGEST_VALUE = 80
_LONG_DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]+")


async def manifest(directory: dagger.Directory, *, most: int = MOST_FILES) -> dict[str, str]:
    """Digests of a directory's files; of subdirectories where there are more than `most` files."""
    found: dict[str, str] = {}

    async def look(path: str) -> None:
        try:
            is_directory = path.endswith("/")
            entry = directory.directory(path) if is_directory else directory.file(path)
            found[path] = await entry.digest()
        except dagger.QueryError:
            found[path] = ""  # a link that leads nowhere, or to a directory

    async with anyio.create_task_group() as group:
        for path in frontier(await directory.glob("**"), most=most):
            group.start_soon(look, path)
    return dict(sorted(found.items()))


def frontier(paths: Sequence[str], *, most: int = MOST_FILES) -> list[str]:
    """At most `most` paths that together cover all of them; directories end with a slash."""
    inside: dict[str, list[str]] = {}
    for path in paths:
        parent = path.rstrip("/").rpartition("/")[0]
        inside.setdefault(f"{parent}/" if parent else "", []).append(path)
    shown = list(inside.get("", ()))
    if len(shown) > most:
        return ["./"]
    folders = sorted(filter(None, inside), key=lambda name: (name.count("/"), name))
    for folder in folders:
        if folder in shown and len(shown) - 1 + len(inside[folder]) <= most:
            shown.remove(folder)
            shown += inside[folder]
    return sorted(shown)


def of_files(before: Files, now: Files) -> dict[str, str]:
    """The new, changed and deleted files of each place; unchanged places are left out."""
    described = {place: _describe(before.get(place, {}), files) for place, files in now.items()}
    return {place: text for place, text in described.items() if text}


def _describe(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    words = {
        path: "new" if path not in before else "gone" if path not in now else "changed"
        for path in sorted(before.keys() | now.keys())
        if before.get(path) != now.get(path)
    }
    named = [f"{path} {word}" for path, word in list(words.items())[:MOST_NAMED]]
    more = len(words) - len(named)
    return ", ".join([*named, *([f"and {more} more"] if more else [])])


def of_values(
    before: Mapping[str, Value],
    now: Mapping[str, Value],
    *,
    descriptions: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Yield a line for each changed value; `descriptions` has the text for some of them."""
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name, ""), now.get(name, "")
        if old == new:
            continue
        if descriptions and name in descriptions:
            yield f"{name}: {descriptions[name]}"
        elif isinstance(old, str) and isinstance(new, str):
            yield _value(name, old, new)
        else:
            gone, came = (sorted({*one} - {*other}) for one, other in ((old, new), (new, old)))
            moved = [*(f"+ {each}" for each in came), *(f"- {each}" for each in gone)]
            yield f"{name}: {', '.join(moved) or 'another order'}"


def _value(name: str, old: str, new: str) -> str:
    shown = [_LONG_DIGEST.sub(r"\1", value) for value in (old, new)]
    if any(value.startswith("sha256:") or len(value) > LONGEST_VALUE for value in shown):
        return f"{name} {'is new' if not old else 'is gone' if not new else 'changed'}"
    return f"{name}: {shown[0] or 'none'} -> {shown[1] or 'none'}"


def of_versions(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each package that was added, removed or has another version."""
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            yield f"{name} {before.get(name, 'new')} -> {now.get(name, 'gone')}"


def digest(text: str) -> str:
    """The sha256 digest of a text."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
