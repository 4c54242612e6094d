"""Uses a secret in a build, in a variable and in a file, and exports the image."""

import sys

import anyio
import dagger
from dagger import dag

LOGIN = """\
set -e
echo "logging in with $TOKEN"
test "$TOKEN" = "$(cat /run/secrets/token)"
printf %s "$TOKEN" | sha256sum | cut -c 1-12 > /etc/session
cp /proc/self/environ /tmp/nothing && rm /tmp/nothing
"""


async def main(target: str) -> None:
    async with dagger.connection():
        token = dag.secret("env://BUILD_TOKEN")
        image = (
            dag.container()
            .from_("debian:bookworm-slim")
            .with_secret_variable("TOKEN", token)
            .with_mounted_secret("/run/secrets/token", token)
            .with_exec(["sh", "-c", LOGIN])
        )
        print((await image.stdout()).strip())
        print("session:", (await image.file("/etc/session").contents()).strip())
        await image.export(target)


anyio.run(main, sys.argv[1])
