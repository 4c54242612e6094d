"""Selects what is known of a base's packages and of some Python packages; prints JSON.

    select_advisories.py OSV TRACKER < {"names": [NAME, ...], "ids": [ID, ...]}

OSV is a directory of records (https://ossf.github.io/osv-schema/), one in a JSON file or many in a
ZIP archive as osv.dev exports them. TRACKER is the JSON document of Debian's security tracker, or
an empty string. The packages are those of dpkg in this container. Of `ids`, those are printed that
the data has. Records are only selected here, by name: whether a version is affected is decided by
who reads them.
"""

import json
import pathlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from typing import Any

FIELDS = ("source:Package", "source:Version", "binary:Package", "Version", "db:Status-Abbrev")
FORMAT = "\t".join(f"${{{name}}}" for name in FIELDS) + "\n"
KEPT = ("id", "aliases", "upstream", "modified", "withdrawn", "summary", "severity")
PYTHON = "PyPI"
SEPARATORS = re.compile(r"[-_.]+")


def records(place: pathlib.Path) -> Iterator[dict[str, Any]]:
    """Yield every OSV record below a directory."""
    for path in sorted(place.rglob("*")):
        if path.suffix == ".json" and path.is_file():
            yield read(path.name, path.read_bytes())
        elif path.suffix == ".zip":
            yield from records_in_archive(path)


def records_in_archive(path: pathlib.Path) -> Iterator[dict[str, Any]]:
    """Yield every record of an export."""
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".json"):
                    yield read(name, archive.read(name))
    except zipfile.BadZipFile as exc:
        sys.exit(f"{path.name} in the OSV data is not a ZIP archive: {exc}")


def read(name: str, content: bytes) -> dict[str, Any]:
    """A record; an error that names its file if it is something else."""
    try:
        record = json.loads(content)
    except ValueError as exc:
        sys.exit(f"{name} in the OSV data is not JSON: {exc}")
    if not isinstance(record, dict) or "id" not in record:
        sys.exit(f"{name} in the OSV data is not an OSV record: it has no id")
    return record


def packages() -> list[dict[str, str]]:
    """The installed packages of the distribution."""
    argv = ["dpkg-query", "--show", f"--showformat={FORMAT}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    keys = ("source", "source_version", "name", "version", "status")
    rows = [dict(zip(keys, line.split("\t"), strict=True)) for line in done.stdout.splitlines()]
    # The second letter is the state: neither not installed nor only configured (dpkg-query(1)).
    return [row for row in rows if row.pop("status")[1] not in "nc"]


def release() -> dict[str, str]:
    """ID, VERSION_ID and VERSION_CODENAME of the distribution (os-release(5))."""
    lines = pathlib.Path("/etc/os-release").read_text().splitlines()
    pairs = [line.partition("=") for line in lines]
    found = {key: value.strip("'\"") for key, _, value in pairs}
    return {key: found.get(key, "") for key in ("ID", "VERSION_ID", "VERSION_CODENAME")}


def select(
    place: pathlib.Path, wanted: dict[str, set[str]], ids: set[str]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The records of wanted packages by ecosystem, and what the data is."""
    found = []
    counts = dict.fromkeys(wanted, 0)
    newest, known = "", set()
    for record in records(place):
        newest = max(newest, str(record.get("modified", "")))
        known |= ids.intersection((record["id"], *(record.get("aliases") or ())))
        affected = [
            each for each in record.get("affected") or () if ecosystem_of(each, wanted) is not None
        ]
        for name in {ecosystem_of(each, wanted) for each in affected}:
            counts[str(name)] += 1
        mine = [
            each
            for each in affected
            if normal(each["package"]["name"]) in wanted[str(ecosystem_of(each, wanted))]
        ]
        if mine:
            found.append({**{key: record.get(key) for key in KEPT}, "affected": mine})
            extra = record.get("database_specific") or {}
            found[-1]["database_severity"] = extra.get("severity")
    return found, {"records": counts, "newest": newest, "known": sorted(known)}


def ecosystem_of(affected: dict[str, Any], wanted: dict[str, set[str]]) -> str | None:
    """The wanted ecosystem of an entry; `Ubuntu:24.04:LTS` is `Ubuntu:24.04`."""
    name = str((affected.get("package") or {}).get("ecosystem", ""))
    return next((each for each in wanted if name == each or name.startswith(f"{each}:")), None)


def normal(name: str) -> str:
    return SEPARATORS.sub("-", name).lower()


def track(path: str, sources: set[str], codename: str, ids: set[str]) -> dict[str, Any]:
    """What Debian's tracker says of the sources in this release."""
    try:
        document = json.loads(pathlib.Path(path).read_bytes())
        releases = {
            name
            for issues in document.values()
            for issue in issues.values()
            for name in issue["releases"]
        }
    except (ValueError, AttributeError, KeyError, TypeError) as exc:
        sys.exit(f"the data of Debian's security tracker is not its JSON document: {exc!r}")
    return {
        "releases": sorted(releases),
        "known": sorted(ids.intersection(name for each in document.values() for name in each)),
        "issues": {
            source: {
                name: {**issue["releases"][codename], "description": issue.get("description", "")}
                for name, issue in issues.items()
                if codename in issue["releases"]
            }
            for source, issues in document.items()
            if source in sources
        },
    }


def main(osv: str, tracker: str, request: dict[str, Any]) -> None:
    """Print what there is, and what is known of it."""
    installed, system = packages(), release()
    sources = {each["source"] for each in installed}
    ids = set(request["ids"])
    ecosystem = f"{system['ID'].capitalize()}:{system['VERSION_ID']}"
    wanted = {PYTHON: set(request["names"]), ecosystem: {normal(each) for each in sources}}
    found, data = select(pathlib.Path(osv), wanted, ids)
    answer = {"packages": installed, "release": system, "osv": found, "data": data, "tracker": None}
    if tracker:
        answer["tracker"] = track(tracker, sources, system["VERSION_CODENAME"], ids)
    json.dump({**answer, "ecosystem": ecosystem}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.load(sys.stdin))
