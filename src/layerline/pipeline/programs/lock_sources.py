"""What is known of packages without a wheel: a resolver that is given it runs none of their code.

uv is given the metadata of each version that it chose and takes any other one to require nothing:
what it then chooses is read, and it resolves again until it chooses what was read.

https://docs.astral.sh/uv/reference/settings/#dependency-metadata
"""

import hashlib
import json
import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

from layerline.pipeline.programs import build_backend, build_wheel, fetch_source
from layerline.pipeline.programs.build_backend import Source, Tools

# Versions of one package that are read before the resolution is given up.
MOST_VERSIONS = 20
HASH = re.compile(r"--hash=(\S+)")


def listed(source: Source) -> str:
    """What builds a source, for a line of the log."""
    return ", ".join(source.requires) or "what it has itself"


class Sources:
    """The packages without a wheel by name; `read` has what their backends said by version.

    `request` has `sources` (names with the build requirements that the user gave), `urls` (those
    with a URL, with the directory of a repository's files) and `known` (pins of before).
    """

    def __init__(self, request: Mapping[str, Any], tools: Tools) -> None:
        self.given: dict[str, list[str]] = dict(request["sources"])
        self.known: dict[str, str] = dict(request["known"])
        self.tools = tools
        self.read: dict[str, dict[str, Source]] = {name: {} for name in self.given}
        self.urls: dict[str, Mapping[str, str]] = dict(request["urls"])
        self.hashes: dict[tuple[str, str], str] = {}
        self.wheels = {
            name: url["url"].rpartition("/")[2].split("-")[1]
            for name, url in self.urls.items()
            if url["url"].partition("#")[0].endswith(".whl")
        }

    def read_urls(self) -> None:
        """Read those with a URL, which have one version."""
        for name, each in self.urls.items():
            if name not in self.wheels:
                found = self._at(name, each)
                self.read[name] = {found.version: found}
                print(f"{name} is built with {listed(found)}", file=sys.stderr)

    def _at(self, name: str, url: Mapping[str, str]) -> Source:
        if url["place"]:
            return self._backend(name, pathlib.Path(url["place"]), url["version"])
        return self._fetch(name, "", (), url["url"])

    def fetch(self, name: str, version: str, hashes: Iterable[str], url: str = "") -> Source:
        """Read the source of a version, known by its hashes."""
        found = self._fetch(name, version, hashes, url)
        self.read.setdefault(name, {})[version] = found
        print(f"{name} has no wheel: built with {listed(found)}", file=sys.stderr)
        return found

    def read_locked(self, name: str, each: Mapping[str, Any]) -> None:
        """Read the source of a package in another tool's lock."""
        try:
            self.fetch(name, each["version"], each["hashes"], each["url"])
        except SystemExit as exc:
            message = (
                f"{name}=={each['version']} has no wheel for this platform, and cannot be built:\n"
                f"{exc}\nlock it with the hash of its source archive, take another version, or "
                "leave it out with 'without'"
            )
            sys.exit(message)

    def _fetch(self, name: str, version: str, hashes: Iterable[str], url: str) -> Source:
        request = {"name": name, "version": version, "url": url}
        archive = fetch_source.fetch(request, {each.removeprefix("sha256:") for each in hashes})
        content = archive.read_bytes()
        self.hashes[name, version] = hashlib.sha256(content).hexdigest()
        with tempfile.TemporaryDirectory() as place:
            pathlib.Path(place).chmod(0o755)  # strangers unpack it
            (pathlib.Path(place) / archive.name).write_bytes(content)
            return self._backend(name, pathlib.Path(place))

    def _backend(self, name: str, place: pathlib.Path, version: str = "") -> Source:
        # For those that ask git; an archive has its version, and not that of another package.
        os.environ.update(dict.fromkeys(build_wheel.SCM_VERSION, version))
        known, given = self.known.get(name, ""), self.given.get(name, ())
        return build_backend.read(name, place, self.tools, given=given, known=known)

    def flags(self) -> list[str]:
        """The resolver's flags: none of them is built, as the metadata of all is given."""
        return [f"--no-binary={name}" for name in self.read]

    def config(self) -> str:
        """The settings of uv with all metadata (TOML)."""
        entries = [each.metadata for them in self.read.values() for each in them.values()]
        # Of a URL uv takes the one entry; of others, any version that was not read.
        entries += [{"name": name, "requires-dist": []} for name in self.read.keys() - self.urls]
        return "".join(
            "[[dependency-metadata]]\n"
            + "".join(f"{key} = {json.dumps(value)}\n" for key, value in each.items())
            for each in entries
        )

    def read_chosen(self, text: str) -> bool:
        """Read what a resolution chose and nobody has read; whether there was any."""
        fresh = [
            (name, version, HASH.findall(block))
            for block in re.split(r"^(?=[^\s#])", text, flags=re.MULTILINE)
            for name, version in re.findall(r"\A([a-z0-9-]+)(?:\[[^]]*\])?==([^\s;\\]+)", block)
            if name in self.read and version not in self.read[name]
        ]
        for name, version, hashes in fresh:
            if len(self.read[name]) >= MOST_VERSIONS:
                sys.exit(f"no version of {name} was found that fits: require one, e.g. {name}==1.0")
            self.fetch(name, version, hashes)
        return bool(fresh)

    def hashed(self, text: str) -> str:
        """A lock with the hashes of those that uv did not fetch, and knows none of."""
        for (name, version), digest in self.hashes.items():
            pin = f"=={re.escape(version)}" if version else r" @ [^\s\\]+"
            pinned = rf"^(?P<pin>{name}(?:\[[^]]*\])?{pin})(?:[ \t]+(?P<via># via .*))?$"
            if found := re.search(pinned, text, re.MULTILINE):
                via = f"\n    {found['via']}" if found["via"] else ""
                line = f"{found['pin']} \\\n    --hash=sha256:{digest}{via}"
                text = text[: found.start()] + line + text[found.end() :]
        return text

    def chosen(self, versions: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        """Version, build requirements and their pins of each package that a lock has."""
        return {
            name: {"version": found.version, "requires": found.requires, "pins": found.pins}
            for name, them in self.read.items()
            for version, found in them.items()
            if name in versions and versions[name] in ("", version)
        }
