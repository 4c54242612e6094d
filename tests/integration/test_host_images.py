"""Images of this machine's container engine: Debian's docker, in a daemon of the test's own."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.docker import daemon

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Project

pytestmark = pytest.mark.privileged

PROGRAM = """\
import json
import sys
import anyio
import dagger
from dagger import dag

async def main():
    async with dagger.connection():
        image = dag.host().container_image("sample:1")
        found = [await image.file("/greeting").contents(), await image.env_variable("A")]
        try:
            await dag.host().container_image("none:1").sync()
        except dagger.QueryError as exc:
            found.append(str(exc))
        print(json.dumps(found))

anyio.run(main)
"""


def test_an_image_of_docker(project: Project, tmp_path: Path) -> None:
    place = tmp_path / "docker"
    place.mkdir()
    with daemon(place) as docker:
        archive = tmp_path / "root.tar"
        with tarfile.open(archive, "w") as file:
            entry = tarfile.TarInfo("greeting")
            entry.size = 6
            file.addfile(entry, io.BytesIO(b"hello\n"))
        docker.run("import", "--change", "ENV A=b", str(archive), "sample:1")
        program = project.home / "program.py"
        program.write_text(PROGRAM)
        path = f"{docker.program.parent}:/usr/sbin:/usr/bin:/sbin:/bin"
        variables = {"DOCKER_HOST": docker.environ["DOCKER_HOST"], "PATH": path}
        done = project.call("run", "--silent", "--", sys.executable, str(program), env=variables)
    assert done.status == 0, done.stderr
    contents, variable, missing = json.loads(done.stdout)
    assert (contents, variable) == ("hello\n", "b")
    assert missing.startswith("docker has no image 'none:1': ")
