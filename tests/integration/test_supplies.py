"""Where wheels come from is in no key: the same step is found again with other indexes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.integration.conftest import Project, succeeded

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.privileged

PROGRAM = """
import asyncio, sys
import dagger
from dagger import dag
from layerline.pipeline.network import Network
from layerline.pipeline.supplies import Mounts
from layerline.pipeline.wheels import Wheels


async def step(url: str, netrc: str, certificates: str) -> str:
    wheels = Wheels(index_url=url, extra_index_urls=(), wheelhouse=None)
    network = Network(
        ca_bundle=None, netrc=netrc, masked=wheels.hosts, offline=bool(certificates)
    )
    mounts = Mounts(
        step="test", network=network, certificates=certificates, arguments=wheels.arguments()
    )
    container = dag.container().with_rootfs(dag.host().directory("rootfs")).with_(mounts.add)
    random = "/proc/sys/kernel/random/uuid"
    return await container.with_exec(["cat", "/mnt/arguments", random]).stdout()


async def main() -> None:
    netrc = "machine packages.example login reader password cAnArY-17"
    async with dagger.connection():
        print(await step("https://packages.example/simple", netrc, ""), end="")
        print(await step("https://elsewhere.example/simple", "", "1"), end="")
        print(await step("", "", ""), end="", flush=True)


asyncio.run(main())
"""


def test_a_step_is_found_again_with_another_index_and_no_host_is_shown(
    project: Project, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = succeeded(project.call("run", "--", sys.executable, str(program)))
    lines = done.stdout.split()
    assert len(lines) == 3
    assert set(lines) == {lines[0]}
    assert lines[0].startswith("***")
    assert "example" not in done.stdout + done.stderr
    assert "cAnArY" not in done.stdout + done.stderr
