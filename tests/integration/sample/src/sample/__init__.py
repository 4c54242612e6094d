"""A pipeline like the real one, of small steps on a root that the tests put beside it."""

from typing import Annotated

import dagger
from dagger import DefaultPath, dag, function, object_type

ONCE = """\
if mkdir /memory/begun 2>/dev/null
then echo "installing for $SECONDS_AT_FIRST s"; sleep "$SECONDS_AT_FIRST"
fi
echo installed >/second
"""


@object_type
class Sample:
    """Small images."""

    rootfs: Annotated[dagger.Directory, DefaultPath("rootfs")]
    source: Annotated[dagger.Directory, DefaultPath("source")]

    @function
    def build(self, seconds_at_first: int = 0) -> dagger.Container:
        """Build in four steps, of which the second takes its time at first."""
        memory = dag.cache_volume(f"memory-{seconds_at_first}")
        return (
            self._base()
            .with_exec(["sh", "-c", "echo packages; head -c 8 /dev/urandom >/first"])
            .with_mounted_cache("/memory", memory)
            .with_env_variable("SECONDS_AT_FIRST", str(seconds_at_first))
            .with_exec(["sh", "-c", ONCE])
            .without_mount("/memory")
            .with_directory("/app", self.source)
            .with_exec(["sh", "-c", "cat /app/* >/third; head -c 8 /dev/urandom >>/third"])
            .with_workdir("/app")
            .with_default_args(["cat", "/third"])
        )

    @function
    def failing(self) -> dagger.Container:
        """Fail after some output."""
        script = "for i in 1 2 3; do echo line $i; done; echo 'no such wheel' >&2; exit 42"
        return self._base().with_exec(["sh", "-c", script]).with_exec(["true"])

    @function
    def large(self, megabytes: int) -> dagger.Container:
        """Build an image with so much that cannot be compressed, in a few files."""
        quarter = megabytes * 2**20 // 4
        script = f"for i in 1 2 3 4; do head -c {quarter} /dev/urandom >/large$i; done"
        return self._base().with_exec(["sh", "-c", script])

    @function
    def without_base(self) -> dagger.Container:
        """Build on an image that nobody has."""
        return dag.container().from_("127.0.0.1:9/nobody/nothing:1").with_exec(["true"])

    def _base(self) -> dagger.Container:
        path = "/bin"
        return dag.container().with_rootfs(self.rootfs).with_env_variable("PATH", path)
