"""Resolves requirements of several groups together; where that fails, says who excludes whom.

What is asked comes as JSON on the standard input: the groups' requirements, packages to leave out
and to upgrade, the words that start the resolver, and the lock to read and to write.
"""

import json
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

LONGEST_SEARCH_SECONDS = 12.0
NO_SOLUTION = "No solution found"
LOCK_WORDS = (
    *("--generate-hashes", "--annotation-style=line", "--no-header"),
    *("--no-emit-index-url", "--no-emit-find-links"),
)


class Wanted(NamedTuple):
    """A requirement and the group that has it."""

    group: str
    text: str

    @property
    def bare(self) -> str:
        """The requirement without a version."""
        found = re.match(r"[A-Za-z0-9._-]+\s*(\[[^]]*\])?", self.text)
        return found[0].strip() if found else self.text


class Resolver:
    """Tries sets of requirements; gives up once the time for it is over."""

    def __init__(self, asked: dict[str, Any]) -> None:
        """Nothing is run yet."""
        self.asked = asked
        self.overrides = pathlib.Path(asked["lock"]).with_suffix(".overrides")
        left_out = [f"{name} ; sys_platform == 'never'\n" for name in asked["without"]]
        self.overrides.write_text("".join(left_out))
        self.deadline = 0.0

    def run(self, wanted: list[Wanted], *words: str) -> subprocess.CompletedProcess[str]:
        """Resolve."""
        argv = [*self.asked["uv"], f"--override={self.overrides}", "--quiet", *words, "-"]
        text = "".join(f"{each.text}\n" for each in wanted)
        return subprocess.run(argv, input=text, capture_output=True, text=True, check=False)

    def resolves(self, wanted: list[Wanted]) -> str:
        """The versions that a set resolves to; empty where it cannot be resolved."""
        if time.monotonic() > self.deadline:
            raise TimeoutError
        done = self.run(wanted, "--no-annotate", "--no-header")
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
    resolver.deadline = time.monotonic() + LONGEST_SEARCH_SECONDS
    try:
        core = resolver.core([], wanted, grown=False)
    except TimeoutError:
        yield f"The search for the fewest that clash took too long. The resolver says:\n{said}"
        return
    if len(core) == 1:
        yield f"This requirement has no solution by itself:\n  {core[0].group}: {core[0].text}"
    else:
        yield "These requirements exclude each other:"
        yield from (f"  {each.group}: {each.text}" for each in core)
    yield f"because\n{indented(reason(resolver.run(core).stderr))}"
    yield "What would resolve:"
    try:
        found = list(ways_out(resolver, wanted, core))
    except TimeoutError:
        found = ["nothing found in the time there was"]
    yield from (f"  - {way}" for way in found or ["no single change; loosen two of them at once"])


def ways_out(resolver: Resolver, wanted: list[Wanted], core: list[Wanted]) -> Iterator[str]:
    """The nearest sets: one version not pinned, or one group in images of their own."""
    for each in core:
        if each.bare == each.text:
            continue
        loose = [Wanted(one.group, one.bare) if one == each else one for one in wanted]
        if found := resolver.resolves(loose):
            version = chosen(found, each.bare)
            yield f"{each.group}: {each.bare} instead of {each.text} (it would be {version})"
    for group in dict.fromkeys(each.group for each in core):
        rest = [one for one in wanted if one.group != group]
        if len({one.group for one in core}) > 1 and resolver.resolves(rest):
            yield f"images with {group} and images with the other groups, of a target each"


def chosen(lock: str, bare: str) -> str:
    """The version that a resolution gives to a package."""
    name = re.sub(r"[-_.]+", "-", bare.partition("[")[0].strip()).lower()
    found = re.search(rf"^{re.escape(name)}==(\S+)", lock, re.MULTILINE)
    return found[1] if found else "another version"


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
    if NO_SOLUTION not in done.stderr:
        sys.exit(done.stderr)
    sys.exit("\n".join(explanation(resolver, wanted, done.stderr)))


if __name__ == "__main__":
    main()
