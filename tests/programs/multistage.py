"""Builds a program in one container, ships it in another, and runs what the registry then has."""

import sys

import anyio
import dagger
from dagger import dag

INSTALL = "apt-get update -qq && apt-get install -y -qq --no-install-recommends tcc libc6-dev"
SOURCE = """\
#include <stdio.h>
int main(void) { puts("built, shipped and pulled back"); return 0; }
"""


async def main(registry: str) -> None:
    async with dagger.connection():
        debian = dag.container().from_("debian:bookworm-slim")
        built = (
            debian.with_exec(["sh", "-c", INSTALL])
            .with_new_file("/src/hello.c", SOURCE)
            .with_exec(["tcc", "-o", "/src/hello", "/src/hello.c"])
            .file("/src/hello")
        )
        image = (
            debian.with_file("/usr/local/bin/hello", built)
            .with_label("org.opencontainers.image.title", "hello")
            .with_entrypoint(["hello"])
        )
        reference = await image.publish(f"{registry}/programs/hello:1")
        pulled = dag.container().from_(reference)
        print(reference)
        print(await pulled.label("org.opencontainers.image.title"))
        print(await pulled.with_exec([], use_entrypoint=True).stdout(), end="")
        print("compiler:", await pulled.exists("/usr/bin/tcc"))


anyio.run(main, sys.argv[1])
