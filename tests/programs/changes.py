"""Formats the files of a directory in a container and brings the changes back to the host."""

import sys

import anyio
import dagger
from dagger import dag

FORMAT = r"""
find . -name '*.txt' -exec sed -i 's/[ \t]*$//' {} +
rm -f *.orig
names=$(ls)
echo "$names" > CONTENTS
"""


async def main(path: str) -> None:
    async with dagger.connection():
        before = dag.host().directory(path)
        after = (
            dag.container()
            .from_("debian:bookworm-slim")
            .with_directory("/work", before)
            .with_workdir("/work")
            .with_exec(["sh", "-c", FORMAT])
            .directory("/work")
        )
        changes = after.changes(before)
        print("added:", await changes.added_paths())
        print("modified:", await changes.modified_paths())
        print("removed:", await changes.removed_paths())
        await changes.export(path)


anyio.run(main, sys.argv[1])
