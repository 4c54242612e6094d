"""Resolves requirements of several groups together; where that fails, says who excludes whom.

What is asked comes as JSON on the standard input: the groups' requirements, packages to leave out
and to upgrade, the words that start the resolver, and the lock to read and to write. If $OFFLINE is
not empty, nothing but the cache is asked.

The resolver's own derivation names the packages that clash, so few are tried, and small sets. There
is an answer in the time there is for it, if need be one that names more than the fewest.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

# From the beginning; what the resolution itself leaves of it is never less than the second one.
LONGEST_SECONDS = 12.0
LEAST_SEARCH_SECONDS = 6.0
NO_SOLUTION = "No solution found"
NOT_KEPT = "network was disabled"
LOCK_WORDS = (
    *("--generate-hashes", "--annotation-style=line", "--no-header"),
    *("--no-emit-index-url", "--no-emit-find-links"),
)
PLAIN_WORDS = ("--no-annotate", "--no-header")


class Wanted(NamedTuple):
    """A requirement and the group that has it."""

    group: str
    text: str

    @property
    def bare(self) -> str:
        """The requirement without a version."""
        found = re.match(r"[A-Za-z0-9._-]+\s*(\[[^]]*\])?", self.text)
        return found[0].strip() if found else self.text

    @property
    def project(self) -> str:
        """The project that it names."""
        return self.bare.partition("[")[0].strip()


class Resolver:
    """Tries sets of requirements; gives up once the time for it is over."""

    def __init__(self, asked: dict[str, Any]) -> None:
        """Nothing is run yet."""
        self.asked = asked
        self.offline = bool(os.environ.get("OFFLINE"))
        self.overrides = pathlib.Path(asked["lock"]).with_suffix(".overrides")
        left_out = [f"{name} ; sys_platform == 'never'\n" for name in asked["without"]]
        self.overrides.write_text("".join(left_out))
        self.begin = time.monotonic()
        self.deadline = float("inf")

    def run(
        self, wanted: list[Wanted], *words: str, kept: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Resolve, from the cache alone if `kept`; TimeoutError if there is no time left for it."""
        argv = [*self.asked["uv"], f"--override={self.overrides}", "--quiet", *words]
        offline = ["--offline"] if kept or self.offline else []
        left = self.deadline - time.monotonic()
        try:
            return subprocess.run(
                [*argv, *offline, "-"],
                input="".join(f"{each.text}\n" for each in wanted),
                capture_output=True,
                text=True,
                check=False,
                timeout=None if left == float("inf") else max(left, 0.0),
            )
        except subprocess.TimeoutExpired as exc:
            raise TimeoutError from exc

    def tried(self, wanted: list[Wanted]) -> subprocess.CompletedProcess[str]:
        """Resolve a set: the cache knows it within a moment, unless it lacks something."""
        done = self.run(wanted, *PLAIN_WORDS, kept=True)
        if done.returncode and NOT_KEPT in done.stderr:
            done = self.run(wanted, *PLAIN_WORDS)
        return done

    def limit(self) -> None:
        """Begin with the explanation, for which there is not all the time."""
        least = time.monotonic() + LEAST_SEARCH_SECONDS
        self.deadline = max(self.begin + LONGEST_SECONDS, least)

    def resolves(self, wanted: list[Wanted]) -> bool:
        """Whether a set can be resolved."""
        return self.tried(wanted).returncode == 0

    def versions(self, wanted: list[Wanted]) -> str:
        """What a set resolves to now, or from the cache where there is no time to ask; or empty."""
        kept = self.run(wanted, *PLAIN_WORDS, kept=True)
        if kept.returncode and NOT_KEPT not in kept.stderr:
            return ""
        try:
            done = self.run(wanted, *PLAIN_WORDS)
        except TimeoutError:
            done = kept
        return "" if done.returncode else done.stdout

    def core(self, fixed: list[Wanted], rest: list[Wanted], *, grown: bool) -> list[Wanted]:
        """The fewest of `rest` that with `fixed` cannot be resolved, by halving."""
        if grown and not self.resolves(fixed):
            return []
        if len(rest) == 1:
            return rest
        half = len(rest) // 2
        first, second = rest[:half], rest[half:]
        late = self.core([*fixed, *first], second, grown=bool(first))
        early = self.core([*fixed, *late], first, grown=bool(late))
        return [*early, *late]


def explanation(resolver: Resolver, wanted: list[Wanted], said: str) -> Iterator[str]:
    """Who excludes whom, and what would resolve."""
    yield f"the groups of {resolver.asked['target']} cannot be resolved together."
    resolver.limit()
    core = suspects(wanted, said)
    try:
        alone = resolver.tried(core)
        if alone.returncode == 0:
            core, alone = wanted, resolver.tried(wanted)
        said = alone.stderr
        core = resolver.core([], core, grown=False)
    except TimeoutError:
        pass  # more than the fewest, but those that exclude each other are among them
    if len(core) == 1:
        yield f"This requirement has no solution by itself:\n  {core[0].group}: {core[0].text}"
    else:
        yield "These requirements exclude each other:"
        yield from (f"  {each.group}: {each.text}" for each in core)
    yield f"because\n{indented(reason(said))}"
    yield "What would resolve:"
    found = ways_out(resolver, wanted, core)
    yield from (f"  - {way}" for way in found or ["nothing was found in the time there is for it"])


def suspects(wanted: list[Wanted], said: str) -> list[Wanted]:
    """The requirements whose packages the resolver's derivation names."""
    names = {normal(name) for name in re.findall(r"[A-Za-z0-9][A-Za-z0-9._-]*", reason(said))}
    return [each for each in wanted if normal(each.project) in names] or wanted


def ways_out(resolver: Resolver, wanted: list[Wanted], core: list[Wanted]) -> list[str]:
    """The nearest sets, tried beside each other: one version not pinned, or a group by itself."""

    def loosened(each: Wanted) -> str:
        loose = [Wanted(one.group, one.bare) if one == each else one for one in wanted]
        found = resolver.versions(loose)
        version = chosen(found, each.bare)
        way = f"{each.group}: {each.bare} instead of {each.text} (it would be {version})"
        return way if found else ""

    def parted(group: str) -> str:
        found = resolver.resolves([one for one in wanted if one.group != group])
        way = f"images with {group} and images with the other groups, of a target each"
        return way if found else ""

    groups = list(dict.fromkeys(each.group for each in core))
    with ThreadPoolExecutor() as pool:
        tried = [pool.submit(loosened, each) for each in core if each.bare != each.text]
        tried += [pool.submit(parted, group) for group in groups if len(groups) > 1]
        return [way for each in tried if not each.exception() and (way := each.result())]


def chosen(lock: str, bare: str) -> str:
    """The version that a resolution gives to a package."""
    name = normal(bare.partition("[")[0].strip())
    found = re.search(rf"^{re.escape(name)}==(\S+)", lock, re.MULTILINE)
    return found[1] if found else "another version"


def normal(name: str) -> str:
    """The one spelling of a project's name."""
    return re.sub(r"[-_.]+", "-", name).lower().strip("-")


def reason(said: str) -> str:
    """The resolver's derivation without its headings."""
    start = said.find("Because")
    return said[max(start, 0) :].strip()


def indented(text: str) -> str:
    return "\n".join(f"  {line.strip(' │╰─▶')}" for line in text.splitlines())


def main() -> None:
    """Write the lock, or end with the explanation."""
    asked = json.load(sys.stdin)
    resolver = Resolver(asked)
    wanted = [Wanted(group, text) for group, them in asked["groups"].items() for text in them]
    newer = ["--upgrade"] if "all" in asked["upgrade"] else []
    newer += [f"--upgrade-package={name}" for name in asked["upgrade"] if name != "all"]
    done = resolver.run(wanted, *LOCK_WORDS, *newer, f"--output-file={asked['lock']}")
    if done.returncode == 0:
        return
    if NOT_KEPT in done.stderr:
        more = "Not all of it is kept: run the same command once without --offline."
        sys.exit(f"{done.stderr}{more}")
    if NO_SOLUTION not in done.stderr:
        sys.exit(done.stderr)
    sys.exit("\n".join(explanation(resolver, wanted, done.stderr)))


if __name__ == "__main__":
    main()
