"""What docker leaves out of a build, and what the doctor says of it, on random trees."""

from __future__ import annotations

import io
import random
import tarfile
from typing import TYPE_CHECKING

import pytest

from layerline.doctor.build_context import Excluded, IgnoreFile, measure_context, walk_context
from layerline.doctor.ignore import is_secret
from layerline.errors import CommandFailed
from layerline.patterns import PatternError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.docker import Docker

TREES = 500
NAMES = ("a", "b", "ab", ".c", "x.txt", "y.pyc", "data", "out put", "w*d", "é", "[z]")
# 20.10 reads `**a` in another way than moby/patternmatcher, which compares a suffix today. That
# form is in tests/unit/test_patterns.py.
PARTS = (
    *NAMES,
    "*",
    "**",
    "a**",
    "a**b",
    "**x*",
    "?",
    "a*",
    "*.txt",
    "*.pyc",
    "[ab]",
    "[^a]",
    "[a-b]*",
    r"w\*d",
    "d?ta",
    ".",
)


def make_tree(random: random.Random, root: Path) -> None:
    """Up to thirty files and folders, with links and an empty folder among them."""
    folders = [root]
    for number in range(random.randrange(3, 30)):
        folder = random.choice(folders)
        path = folder / random.choice(NAMES)
        if path.exists() or path.is_symlink():
            continue
        if random.random() < 0.4 and len(path.relative_to(root).parts) < 5:
            path.mkdir()
            folders.append(path)
        elif random.random() < 0.1:
            path.symlink_to(random.choice(NAMES))
        else:
            path.write_bytes(b"x" * number)


def pattern(random: random.Random) -> str:
    text = "/".join(random.choice(PARTS) for _ in range(random.randrange(1, 4)))
    text = (
        random.choice(("", "", "", "/", "./", "**/")) + text + random.choice(("", "", "/", "/**"))
    )
    if random.random() < 0.01:
        return random.choice(("!", "[", "a[", "a\\", "[]a]", "[a-]"))
    spaces = random.choice(("", "", "", " ", "\t"))
    return (
        random.choice(("", "", "", "!", "! ", "#")) + spaces + text + random.choice(("", " ", "\r"))
    )


def in_image(docker: Docker, context: Path) -> tuple[set[str], int] | None:
    """The paths and bytes that `COPY . /` put into an image; None where docker refuses to build."""
    try:
        image = docker.run("build", "--quiet", ".", cwd=context).decode().strip()
    except CommandFailed as exc:
        if "syntax error in pattern" in exc.stderr or "illegal exclusion" in exc.stderr:
            return None
        raise
    container = docker.run("create", image, "none").decode().strip()
    data = docker.run("export", container)
    docker.run("rm", container)
    docker.run("rmi", "--force", image)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = [each for each in archive if each.name.split("/")[0] not in MADE_BY_DOCKER]
    return {each.name.rstrip("/") for each in members}, sum(m.size for m in members if m.isreg())


MADE_BY_DOCKER = (".dockerenv", "dev", "etc", "proc", "sys")


def in_output(docker: Docker, context: Path) -> tuple[set[str], int] | None:
    """The same of BuildKit, which writes the tree into a file."""
    output = context.with_suffix(".tar")
    try:
        docker.run("build", "--output", f"type=tar,dest={output}", ".", cwd=context)
    except CommandFailed as exc:
        if "syntax error in pattern" in exc.stderr or "illegal exclusion" in exc.stderr:
            return None
        raise
    with tarfile.open(output) as archive:
        members = list(archive)
    output.unlink()
    return {each.name.rstrip("/") for each in members}, sum(m.size for m in members if m.isreg())


class Afresh(Excluded):
    """As 20.10 matches: one folder above is compared, not what was found for those above.

    Its `PatternMatcher.Matches`, which moby/patternmatcher keeps as deprecated and buggy.
    """

    def match(self, path: str, _name: str, _inherited: int) -> tuple[bool, int]:
        matched, parts = False, path.split("/")
        for each in self._patterns:
            above = "/".join(parts[: each.text.count("/") + 1])
            if each.matches(path) or (above != path and each.matches(above)):
                matched = not each.negated
        return matched, 0


def survey_context(
    context: Path, *, buildkit: bool, afresh: bool = False
) -> tuple[set[str], int] | None:
    try:
        patterns = IgnoreFile.of(context).patterns
        excluded = (Afresh if buildkit or afresh else Excluded)(patterns, classic=True)
    except PatternError:
        return None
    folders = list(walk_context(context, excluded, pytest.fail))
    paths = {f"{above}/{each.name}".lstrip("/") for above, kept in folders for each in kept}
    if buildkit:  # 20.10's sends every folder that it looks into, also one that nothing is kept of
        paths |= {above for above, _ in folders if above}
    above = {
        path.rsplit("/", depth)[0] for path in paths for depth in range(1, path.count("/") + 1)
    }
    return paths | above, measure_context(context, excluded, is_secret=is_secret).size


def differences(
    docker: Docker, place: Path, seeds: range, *, buildkit: bool
) -> list[tuple[object, ...]]:
    different: list[tuple[object, ...]] = []
    refused = older = 0
    for seed in seeds:
        chance = random.Random(seed)
        context = place / str(seed)
        context.mkdir()
        (context / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
        make_tree(chance, context)
        lines = [pattern(chance) for _ in range(chance.randrange(1, 7))]
        text = "\n".join(lines) + chance.choice(("", "\n"))
        (context / ".dockerignore").write_bytes(
            chance.choice((b"", b"\xef\xbb\xbf")) + text.encode()
        )
        said = survey_context(context, buildkit=buildkit)
        done = in_output(docker, context) if buildkit else in_image(docker, context)
        refused += done is None
        if said != done and done == survey_context(context, buildkit=buildkit, afresh=True):
            older += 1  # a rule of 20.10 that today's builders have no more
        elif said != done:
            different.append((seed, lines, said, done))
    print(
        f"{len(seeds)} trees, {refused} pattern files refused by both, "
        f"{older} as 20.10 alone does, {len(different)} differences"
    )
    assert older <= len(seeds) / 100 + 1
    return different


@pytest.mark.slow
def test_the_doctor_and_docker_keep_the_same_files(docker: Docker, tmp_path: Path) -> None:
    assert differences(docker, tmp_path, range(TREES), buildkit=False) == []


@pytest.mark.slow
def test_the_doctor_and_buildkit_keep_the_same_files(buildkit: Docker, tmp_path: Path) -> None:
    assert differences(buildkit, tmp_path, range(TREES), buildkit=True) == []


def test_a_sample_of_the_trees_with_buildkit(buildkit: Docker, tmp_path: Path) -> None:
    assert differences(buildkit, tmp_path, range(8, TREES, 50), buildkit=True) == []
