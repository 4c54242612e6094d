"""Tests one small package on several versions of Python at once, each from its Debian release."""

import anyio
import dagger
from dagger import dag

RELEASES = {"3.9": "bullseye", "3.11": "bookworm", "3.13": "trixie"}
PACKAGE = """\
def area(width, height):
    if width < 0 or height < 0:
        raise ValueError("a side is negative")
    return width * height
"""
TESTS = """\
import unittest
import shapes

class Area(unittest.TestCase):
    def test_area(self):
        self.assertEqual(shapes.area(3, 4), 12)

    def test_negative(self):
        with self.assertRaises(ValueError):
            shapes.area(-1, 4)

unittest.main()
"""
INSTALL = "apt-get update -qq && apt-get install -y -qq --no-install-recommends python3"


async def main() -> None:
    async with dagger.connection():
        source = (
            dag.directory()
            .with_new_file("shapes.py", PACKAGE)
            .with_new_file("test_shapes.py", TESTS)
        )
        results: dict[str, str] = {}

        async def test(version: str, release: str) -> None:
            python = (
                dag.container()
                .from_(f"debian:{release}-slim")
                .with_env_variable("DEBIAN_FRONTEND", "noninteractive")
                .with_exec(["sh", "-c", INSTALL])
                .with_mounted_directory("/src", source)
                .with_workdir("/src")
            )
            told = await python.with_exec(["python3", "--version"]).stdout()
            tested = python.with_exec(["python3", "test_shapes.py"])
            results[version] = f"{told.strip()}: {(await tested.stderr()).splitlines()[-1]}"

        async with anyio.create_task_group() as group:
            for version, release in RELEASES.items():
                group.start_soon(test, version, release)
    for version in RELEASES:
        print(version, results[version])


anyio.run(main)
