"""Where known vulnerabilities are read from: directories and files, or URLs of mirrors.

Invariant: data that is missing, empty or about something else is an error, never a clean result.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import dagger
from dagger import dag

from layerline.pipeline.environment import program
from layerline.pipeline.errors import PipelineError

OSV_URL = "https://osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip"
TRACKER_URL = "https://security-tracker.debian.org/tracker/data/json"
_OSV = "/mnt/osv"
_TRACKER = "/mnt/tracker.json"
_PYTHON = "PyPI"
_DEBIAN = "debian"
_WAYS = {
    "osv": "give --osv=DIRECTORY with OSV records or exports of them, or --osv-url of a mirror",
    "tracker": "give --tracker=FILE with the tracker's JSON document, or --tracker-url of a mirror",
}


class NoAdvisories(PipelineError):
    """Known vulnerabilities cannot be read, so nothing can be said of an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advisories:
    """The sources of an audit; a directory or file is used instead of its URL."""

    osv: dagger.Directory | None
    osv_url: str
    tracker: dagger.File | None
    tracker_url: str
    offline: bool

    async def select(
        self, system: dagger.Container, names: Collection[str], ids: Collection[str]
    ) -> Mapping[str, Any]:
        """What is known of Python packages and of those in a system; see `select_advisories.py`."""
        osv = self.osv if self.osv is not None else await self._osv()
        container = system.with_mounted_directory(_OSV, osv)
        release = await system.file("/etc/os-release").contents()
        has_tracker = f"\nID={_DEBIAN}\n" in f"\n{release}"
        if has_tracker:
            tracker = self.tracker if self.tracker is not None else await self._tracker()
            container = container.with_mounted_file(_TRACKER, tracker)
        argv = ["python3", "-c", program("select_advisories.py"), _OSV]
        request = json.dumps({"names": sorted(names), "ids": sorted(ids)})
        container = container.with_exec([*argv, _TRACKER * has_tracker], stdin=request)
        try:
            found: dict[str, Any] = json.loads(await container.stdout())
        except dagger.ExecError as exc:
            ways = _WAYS["osv" if "OSV" in exc.stderr else "tracker"]
            message = f"nothing was audited: {exc.stderr.strip()}: {ways}"
            raise NoAdvisories(message) from exc
        check(found)
        return found

    async def _osv(self) -> dagger.Directory:
        file = await self._fetch(self.osv_url or OSV_URL, "osv")
        name = "osv.json" if self.osv_url.endswith(".json") else "osv.zip"
        return dag.directory().with_file(name, file)

    async def _tracker(self) -> dagger.File:
        return await self._fetch(self.tracker_url or TRACKER_URL, "tracker")

    async def _fetch(self, url: str, what: str) -> dagger.File:
        if urlsplit(url).username is not None:
            message = f"--{what}-url has credentials in it, which logs would show: {_WAYS[what]}"
            raise NoAdvisories(message)
        if self.offline:
            message = f"known vulnerabilities are at {url}, and --offline is given: {_WAYS[what]}"
            raise NoAdvisories(message)
        file = dag.http(url)
        try:
            await file.size()
        except dagger.QueryError as exc:
            message = f"nothing was audited: {url} cannot be read: {exc}; {_WAYS[what]}"
            raise NoAdvisories(message) from exc
        return file


def check(found: Mapping[str, Any]) -> None:
    """Raise an error if the data cannot know the packages."""
    records, release = found["data"]["records"], found["release"]
    if not records[_PYTHON]:
        message = f"nothing was audited: the OSV data has no records of {_PYTHON}: {_WAYS['osv']}"
        raise NoAdvisories(message)
    if found["tracker"] is not None:
        known: Sequence[str] = found["tracker"]["releases"]
        if release["VERSION_CODENAME"] not in known:
            message = (
                f"nothing was audited: the tracker's data has {', '.join(known) or 'no release'}, "
                f"the base is {release['VERSION_CODENAME']}: {_WAYS['tracker']}"
            )
            raise NoAdvisories(message)
    elif not records[found["ecosystem"]]:
        message = (
            f"nothing was audited: the OSV data has no records of {found['ecosystem']}, which the "
            f"base is: {_WAYS['osv']}, with those of this ecosystem"
        )
        raise NoAdvisories(message)
