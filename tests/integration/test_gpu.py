"""Containers with GPUs, by a CDI specification that needs none: its devices are harmless ones.

The edits are those of pkg/cdi/container-edits.go of the Container Device Interface, version 1.0.0.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Project

pytestmark = pytest.mark.privileged

NULL, ZERO = (1, 3), (1, 5)
PROGRAM = """\
import json
import sys
import anyio
import dagger
from dagger import dag

async def answer(devices, script):
    box = dag.container().with_rootfs(dag.host().directory("rootfs"))
    box = box.with_env_variable("PATH", "/bin").with_env_variable("KEPT", "image")
    if devices == ["all"]:
        box = box.experimental_with_all_gp_us()
    elif devices:
        box = box.experimental_with_gpu(devices)
    try:
        return await box.with_exec(["sh", "-c", script]).stdout()
    except dagger.QueryError as exc:
        return str(exc)

async def main():
    async with dagger.connection():
        asked = json.loads(sys.argv[1])
        print(json.dumps([await answer(devices, script) for devices, script in asked]))

anyio.run(main)
"""
LOOK = """
  head -c 2 /dev/gpu0 | od -An -tx1; ls -ln /dev/gpu0 | cut -c1-10; ls /dev/gpu1 2>/dev/null
  cat /usr/lib/driver.so; echo $NVIDIA_VISIBLE_DEVICES $KEPT; id -G
  touch /usr/lib/driver.so 2>/dev/null || echo read-only
  grep driver.so /proc/mounts | cut -d' ' -f4 | cut -d, -f1-3"""
SEEN = """\
 00 00
crw-r-----
a library
void specification
0 7
read-only
ro,nosuid,nodev
"""
LIST = "ls -d /dev/gpu* 2>/dev/null || true"


@pytest.fixture
def place(machine_root: None) -> Iterator[Path]:  # noqa: ARG001
    """A directory that root alone can write to."""
    made = Path(tempfile.mkdtemp(dir="/run", prefix="layerline-cdi-"))
    yield made
    shutil.rmtree(made)


def ask(project: Project, place: Path, *asked: tuple[list[str], str]) -> list[str]:
    """What scripts print in containers with GPUs, or the errors."""
    for applet in ("grep", "id", "od", "test", "touch"):
        (project.home / "rootfs/bin" / applet).symlink_to("busybox")
    program = project.home / "program.py"
    program.write_text(PROGRAM)
    argv = ("run", "--silent", "--", sys.executable, str(program), json.dumps(asked))
    done = project.call(*argv, env={"LAYERLINE_CDI_SPEC_DIRS": str(place)})
    assert done.status == 0, done.stderr
    answers: list[str] = json.loads(done.stdout)
    return answers


def gpu(name: str, device: tuple[int, int], **more: object) -> dict[str, object]:
    node = {"path": f"/dev/gpu{name}", "type": "c", "major": device[0], "minor": device[1], **more}
    return {"name": name, "containerEdits": {"deviceNodes": [node]}}


def test_a_container_gets_what_the_specification_says(project: Project, place: Path) -> None:
    (place / "driver.so").write_text("a library\n")
    hook = place / "hook"
    hook.write_text(f'#!/bin/sh\nprintf "%s " "$0" "$@" "$MARK" > {place}/hooked\n')
    hook.chmod(0o755)
    described = {"hookName": "createRuntime", "path": str(hook), "timeout": 10}
    library = {"hostPath": str(place / "driver.so"), "containerPath": "/usr/lib/driver.so"}
    devices = [gpu("0", ZERO, fileMode=0o640, gid=7), gpu("1", NULL)]
    edits = {
        "env": ["NVIDIA_VISIBLE_DEVICES=void", "KEPT=specification"],
        "mounts": [{**library, "options": ["ro", "nosuid", "nodev", "bind"]}],
        "hooks": [{**described, "args": ["hook", "now"], "env": ["MARK=set"]}],
        "additionalGids": [7, 0],
    }
    document = {"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": devices}
    (place / "nvidia.json").write_text(json.dumps({**document, "containerEdits": edits}))
    answers = ask(
        project,
        place,
        (["0"], LOOK),
        (["all"], LIST),
        (["nvidia.com/gpu=1"], LIST),
        ([], LIST),
        (["3"], LIST),
    )
    assert answers[0] == SEEN
    assert answers[1:4] == ["/dev/gpu0\n/dev/gpu1\n", "/dev/gpu1\n", ""]
    assert answers[4] == "no GPU '3' in the CDI specifications of this machine: it has 0, 1"
    assert (place / "hooked").read_text() == f"{hook} now set "
