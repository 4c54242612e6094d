"""A program with the Python SDK of any version from 0.18 to the 1.0 betas; prints what it got."""

import json
import sys

import anyio
import dagger
from dagger import dag


async def build(box: dagger.Container) -> dict[str, object]:
    """Chains over containers, directories, files, secrets and cache volumes."""
    folder = dag.directory().with_new_file("a/b.txt", "text").with_new_directory("c")
    made = box.with_directory("/in", folder).with_exec(["sh", "-c", "cat /in/a/b.txt > /out"])
    secret = dag.set_secret("token", "hush")
    told = box.with_secret_variable("TOKEN", secret).with_exec(["sh", "-c", "echo $TOKEN"])
    volume = dag.cache_volume("kept")
    kept = box.with_mounted_cache("/kept", volume).with_exec(
        ["sh", "-c", "echo a>/kept/f; cat /kept/f"]
    )
    failed = box.with_exec(["sh", "-c", "exit 3"], expect=dagger.ReturnType.ANY)
    variables = await box.with_env_variable("X", "1").env_variables()
    return {
        "stdout": await box.with_exec(["echo", "hello"]).stdout(),
        "entries": await folder.entries(),
        "nested": await dag.directory().with_directory("d", folder).glob("**/*.txt"),
        "contents": await folder.file("a/b.txt").contents(),
        "size": await folder.file("a/b.txt").size(),
        "made": await made.file("/out").contents(),
        "secret": await told.stdout(),
        "plaintext": await secret.plaintext(),
        "kept": await kept.stdout(),
        "exit code": await failed.exit_code(),
        "synced": await (await folder.sync()).entries(),
        "variables": {await each.name(): await each.value() for each in variables},
        "exported": await folder.export("exported"),
        "platform": await dag.default_platform(),
        "version": await dag.version(),
    }


async def fail(box: dagger.Container) -> dict[str, object]:
    """Errors of an exec and of a query."""
    found: dict[str, object] = {}
    try:
        await box.with_exec(["sh", "-c", "echo out; echo why >&2; exit 7"]).sync()
    except dagger.ExecError as exc:
        found["exec error"] = [exc.exit_code, exc.stdout, exc.stderr, len(exc.command)]
    try:
        await dag.directory().file("none").contents()
    except dagger.QueryError as exc:
        found["query error"] = str(exc)
    return found


async def main() -> None:
    """Connect as a user's program does."""
    async with dagger.connection(dagger.Config(log_output=sys.stderr)):
        root = dag.host().directory("rootfs")
        box = dag.container().with_rootfs(root).with_env_variable("PATH", "/bin")
        found = {**await build(box), **await fail(box)}
    sys.stdout.write(json.dumps(found))


anyio.run(main)
