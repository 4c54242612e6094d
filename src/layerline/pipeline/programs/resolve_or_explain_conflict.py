"""Resolves the requirements of several groups together; explains conflicts if that fails.

The request comes as JSON on stdin: the groups' requirements, packages to leave out and to upgrade,
those to build, the projects to build, the resolver's command, and the lock to read and to write.
The file ARGUMENTS has more arguments of that command, one in each line. If $OFFLINE is not empty,
only the cache is used. No code of a package is run but by `build_backend.py`.

The resolver's own derivation names the conflicting packages, so only few and small sets are tried.
The search has a time limit; if it is reached, the answer may name more requirements than necessary.
"""

import difflib
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from layerline.pipeline.programs import build_backend
from layerline.pipeline.programs.build_backend import Tools
from layerline.pipeline.programs.lock_sources import Sources

# From the beginning; what the resolution itself leaves of it is never less than the second one.
LONGEST_SECONDS = 12.0
LEAST_SEARCH_SECONDS = 6.0
PAGE_SECONDS = 5.0
ARGUMENTS = pathlib.Path("/mnt/arguments")
INDEX_ARGS = ("--index-url=", "--extra-index-url=", "--find-links=")
NO_SOLUTION = "No solution found"
NOT_KEPT = "network was disabled"
LOCK_ARGS = (
    *("--generate-hashes", "--annotation-style=line", "--no-header"),
    *("--no-emit-index-url", "--no-emit-find-links"),
)
PLAIN_ARGS = ("--no-annotate", "--no-header", "--quiet")
# uv's hint for a package that has no wheel for this platform.
NO_WHEEL = re.compile(r"Wheels are required for `(?P<name>[^`]+)` because building from source")
# A line of the lock.
LOCKED = re.compile(r"^([a-z0-9-]+)(?:\[[^]]*\])?(?:==| @ )", re.MULTILINE)
# uv's warning; it locks such a requirement without the extra.
NO_EXTRA = re.compile(
    r"The package `(?P<name>[^`=]+)(?P<version>==[^`]+)?` "
    r"does not have an extra named `(?P<extra>[^`]+)`"
)


class Requirement(NamedTuple):
    """A requirement and the group that has it."""

    group: str
    text: str

    @property
    def bare(self) -> str:
        """The requirement without a version."""
        found = re.match(r"[A-Za-z0-9._-]+\s*(\[[^]]*\])?", self.text)
        return found[0].strip() if found else self.text

    @property
    def extras(self) -> list[str]:
        """The extras that it asks for."""
        inside = self.bare.partition("[")[2].rstrip("]")
        return [extra.strip() for extra in inside.split(",") if extra.strip()]

    @property
    def project(self) -> str:
        """The project that it names."""
        return self.bare.partition("[")[0].strip()


class Resolver:
    """Tries sets of requirements until a time limit."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.offline = bool(os.environ.get("OFFLINE"))
        self.overrides = pathlib.Path(request["lock"]).with_suffix(".overrides")
        left_out = [f"{name} ; sys_platform == 'never'\n" for name in request["without"]]
        self.overrides.write_text("".join(left_out))
        # uv reads its settings there, together with those of the system.
        self.place = pathlib.Path(request["lock"]).with_suffix(".d")
        self.place.mkdir(exist_ok=True)
        newer = [f"--upgrade-package={name}" for name in request["upgrade"] if name != "all"]
        newer += ["--upgrade"] if "all" in request["upgrade"] else []
        offline = ["--offline"] if self.offline else []
        self.newer = newer
        self.sources = Sources(request, Tools(request["uv"], [*newer, *offline]))
        self.begin = time.monotonic()
        self.deadline = float("inf")

    def invoke(
        self, wanted: list[Requirement], *args: str, kept: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run the resolver, with only its cache if `kept`; TimeoutError after the time limit."""
        (self.place / "uv.toml").write_text(self.sources.config())
        argv = [*self.request["uv"], *self.sources.flags()]
        argv += [f"--override={self.overrides}", *args]
        offline = ["--offline"] if kept or self.offline else []
        left = self.deadline - time.monotonic()
        try:
            return subprocess.run(
                [*argv, *offline, "-"],
                input="".join(f"{each.text}\n" for each in wanted),
                capture_output=True,
                text=True,
                check=False,
                cwd=self.place,
                timeout=None if left == float("inf") else max(left, 0.0),
            )
        except subprocess.TimeoutExpired as exc:
            raise TimeoutError from exc

    def attempt(self, wanted: list[Requirement]) -> subprocess.CompletedProcess[str]:
        """Resolve a set, from the cache if possible, which is fast."""
        done = self.invoke(wanted, *PLAIN_ARGS, kept=True)
        if done.returncode and NOT_KEPT in done.stderr:
            done = self.invoke(wanted, *PLAIN_ARGS)
        return done

    def limit(self) -> None:
        """Start the time limit of the explanation."""
        least = time.monotonic() + LEAST_SEARCH_SECONDS
        self.deadline = max(self.begin + LONGEST_SECONDS, least)

    def resolves(self, wanted: list[Requirement]) -> bool:
        """Whether a set can be resolved."""
        return self.attempt(wanted).returncode == 0

    def versions(self, wanted: list[Requirement]) -> str:
        """What a set resolves to, from the cache if the time is over; empty without a solution."""
        kept = self.invoke(wanted, *PLAIN_ARGS, kept=True)
        if kept.returncode and NOT_KEPT not in kept.stderr:
            return ""
        try:
            done = self.invoke(wanted, *PLAIN_ARGS)
        except TimeoutError:
            done = kept
        return "" if done.returncode else done.stdout

    def core(
        self, fixed: list[Requirement], rest: list[Requirement], *, grown: bool
    ) -> list[Requirement]:
        """A minimal part of `rest` that conflicts with `fixed`, by bisection (QuickXplain)."""
        if grown and not self.resolves(fixed):
            return []
        if len(rest) == 1:
            return rest
        half = len(rest) // 2
        first, second = rest[:half], rest[half:]
        late = self.core([*fixed, *first], second, grown=bool(first))
        early = self.core([*fixed, *late], first, grown=bool(late))
        return [*early, *late]


def explanation(resolver: Resolver, wanted: list[Requirement], said: str) -> Iterator[str]:
    """Yield the conflict and the ways to solve it."""
    yield f"the groups of {resolver.request['target']} cannot be resolved together."
    resolver.limit()
    core = suspects(wanted, said)
    try:
        alone = resolver.attempt(core)
        if alone.returncode == 0:
            core, alone = wanted, resolver.attempt(wanted)
        said = alone.stderr
        core = resolver.core([], core, grown=False)
    except TimeoutError:
        pass  # not minimal, but it includes the conflict
    if len(core) == 1:
        yield f"This requirement has no solution by itself:\n  {core[0].group}: {core[0].text}"
    else:
        yield "These requirements conflict:"
        yield from (f"  {each.group}: {each.text}" for each in core)
    yield f"because\n{indent(reason(said))}"
    yield "To resolve it:"
    found = ways_out(resolver, wanted, core)
    yield from (f"  - {way}" for way in found or ["none found within the time limit"])


def suspects(wanted: list[Requirement], said: str) -> list[Requirement]:
    """The requirements whose packages the resolver's derivation names."""
    names = {
        normalize_name(name) for name in re.findall(r"[A-Za-z0-9][A-Za-z0-9._-]*", reason(said))
    }
    return [each for each in wanted if normalize_name(each.project) in names] or wanted


def ways_out(resolver: Resolver, wanted: list[Requirement], core: list[Requirement]) -> list[str]:
    """Changes that resolve, tried in parallel: one version unpinned, or a group split off."""

    def without_pin(each: Requirement) -> str:
        loose = [Requirement(one.group, one.bare) if one == each else one for one in wanted]
        found = resolver.versions(loose)
        version = chosen(found, each.bare)
        way = f"{each.group}: {each.bare} instead of {each.text} (resolves to {version})"
        return way if found else ""

    def without_group(group: str) -> str:
        found = resolver.resolves([one for one in wanted if one.group != group])
        way = f"separate targets for images with {group} and images with the other groups"
        return way if found else ""

    groups = list(dict.fromkeys(each.group for each in core))
    with ThreadPoolExecutor() as pool:
        tried = [pool.submit(without_pin, each) for each in core if each.bare != each.text]
        tried += [pool.submit(without_group, group) for group in groups if len(groups) > 1]
        return [way for each in tried if not each.exception() and (way := each.result())]


def chosen(lock: str, bare: str, *, missing: str = "another version") -> str:
    """The version that a resolution gives to a package."""
    name = normalize_name(bare.partition("[")[0].strip())
    found = re.search(rf"^{re.escape(name)}(?:\[[^]]*\])?==(\S+)", lock, re.MULTILINE)
    return found[1] if found else missing


def normalize_name(name: str) -> str:
    """Normalize a project's name as PEP 503 has it."""
    return re.sub(r"[-_.]+", "-", name).lower().strip("-")


def reason(said: str) -> str:
    """The resolver's derivation without its headings."""
    start = said.find("Because")
    # Hints are about flags that nobody gave.
    return said[max(start, 0) :].partition("\nhint: ")[0].strip()


def indent(text: str) -> str:
    return "\n".join(f"  {line.strip(' │╰─▶')}" for line in text.splitlines())


def unknown_extras(wanted: list[Requirement], said: str, uv: list[str]) -> Iterator[str]:
    """Yield each requirement whose extra its project does not have, with those that it has."""
    for found in NO_EXTRA.finditer(said):
        name = normalize_name(found["name"])
        for each in wanted:
            asked = {normalize_name(extra) for extra in each.extras}
            if normalize_name(each.project) != name or normalize_name(found["extra"]) not in asked:
                continue
            known = extras_of(f"{found['name']}{found['version'] or ''}", uv)
            near = difflib.get_close_matches(found["extra"], known, n=1)
            hint = f"did you mean {each.project}[{near[0]}]?" if near else ""
            hint = hint or f"use one of {', '.join(known)}" if known else "remove it"
            yield (
                f"group {each.group} requires {each.text}, but {name} has no extra "
                f"{found['extra']!r}: {hint}"
            )


def extras_of(pinned: str, uv: list[str]) -> list[str]:
    """The extras that a project has; empty if pip, which is next to uv, cannot say."""
    flags = [arg for arg in uv if arg.startswith(INDEX_ARGS)]
    pip = str(pathlib.Path(uv[0]).with_name("pip"))
    argv = [pip, "install", "--dry-run", "--quiet", "--ignore-installed", "--no-deps", *flags]
    argv += ["--only-binary=:all:"]  # a source's own code would be run
    done = subprocess.run(
        [*argv, "--report=-", pinned], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return []
    [each] = json.loads(done.stdout)["install"]
    return sorted(each["metadata"].get("provides_extra", []))


def lock(
    resolver: Resolver, wanted: list[Requirement], *args: str
) -> subprocess.CompletedProcess[str]:
    """Resolve; packages without a wheel are read, and resolved again with what they require."""
    request, sources = resolver.request, resolver.sources
    while True:
        done = resolver.invoke(wanted, *args, *resolver.newer)
        if done.returncode:
            fresh = {normalize_name(name) for name in NO_WHEEL.findall(done.stderr)}
            fresh.difference_update(sources.read)
            if not fresh or request["only_binary"]:
                return done
            sources.read.update((name, {}) for name in sorted(fresh))
        elif not sources.read_chosen(pathlib.Path(request["lock"]).read_text()):
            return done


def read_projects(request: dict[str, Any], tools: Tools) -> dict[str, str]:
    """The pins of what builds the projects of the repository, by directory."""
    found = {}
    for path, each in request["projects"].items():
        place, editable = pathlib.Path(each["place"]), each["editable"]
        source = build_backend.read(
            path, place, tools, known=each["known"], editable=editable, described=False
        )
        found[path] = source.pins
    return found


def reached_pages() -> Iterator[str]:
    """Yield the pages of single packages that can be reached, as an argument each."""
    pages = [] if os.environ.get("OFFLINE") else os.environ.get("INDEX_PAGES", "").split()
    for page in pages:
        try:
            urllib.request.urlopen(page, timeout=PAGE_SECONDS).close()
        except OSError as exc:
            print(f"warning: {page} is left out: {exc}", file=sys.stderr)
        else:
            yield f"--find-links={page}"


def prune_cache(uv: list[str]) -> None:
    """Remove what is outdated: uv unpacks a wheel of a directory again when its links change."""
    cache = next(arg for arg in uv if arg.startswith("--cache-dir="))
    subprocess.run([uv[0], "cache", "prune", "--quiet", cache], check=False)


def given_arguments() -> list[str]:
    """Where this machine has wheels from; sets the certificates to trust."""
    if bundle := os.environ.get("CA_BUNDLE"):
        if not pathlib.Path(bundle).exists():
            sys.exit(f"{bundle} is missing from the cache volume")
        os.environ.update(SSL_CERT_FILE=bundle, PIP_CERT=bundle)
    return ARGUMENTS.read_text().split()


def outcome(resolver: Resolver) -> dict[str, Any]:
    """The platform, and what builds packages and projects; completes the lock with hashes."""
    request, sources = resolver.request, resolver.sources
    text = sources.hashed(pathlib.Path(request["lock"]).read_text())
    pathlib.Path(request["lock"]).write_text(text)
    versions = {name: chosen(text, name, missing="") for name in LOCKED.findall(text)}
    versions |= {name: each["version"] for name, each in request["locked"].items()}
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "wheels": sources.wheels,
        "sources": sources.chosen({**versions, **dict.fromkeys(sources.urls, "")}),
        "projects": read_projects(request, sources.tools),
    }


def main() -> None:
    """Write the lock and print the platform as JSON, or end with the explanation."""
    os.umask(0o022)
    request = json.load(sys.stdin)
    request["uv"] += [*given_arguments(), *reached_pages()]
    resolver = Resolver(request)
    wanted = [
        Requirement(group, text) for group, them in request["groups"].items() for text in them
    ]
    resolver.sources.read_urls()
    for name, each in request["locked"].items():
        resolver.sources.read_locked(name, each)
    output = f"--output-file={request['lock']}"
    flags = ["--no-deps"] if request["no_deps"] else []
    done = lock(resolver, wanted, *LOCK_ARGS, *flags, output)
    if done.returncode == 0:
        if wrong := list(unknown_extras(wanted, done.stderr, request["uv"])):
            sys.exit("\n".join(wrong))
        print(json.dumps(outcome(resolver)))
        prune_cache(request["uv"])
        return
    prune_cache(request["uv"])
    said = "".join(
        line for line in done.stderr.splitlines(keepends=True) if not line.startswith("warning: ")
    )
    if NOT_KEPT in said:
        more = "not all of it is cached: run the same command once without --offline."
        sys.exit(f"{said}{more}")
    if NO_SOLUTION not in said:
        sys.exit(said)
    if request["only_binary"] and (lacking := NO_WHEEL.findall(said)):
        more = f"only_binary = true in [targets.{request['target']}] forbids to build them"
        sys.exit(f"{', '.join(dict.fromkeys(lacking))}: no wheel for this platform; {more}")
    sys.exit("\n".join(explanation(resolver, wanted, said)))


if __name__ == "__main__":
    main()
