"""Pages as sessions: what a page presupposes, and which of its commands run with every test run.

A session goes through the page's blocks in their order, in one scratch repository. A command that
is in no row of `tests.documents.elsewhere` belongs to the session of its page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.documents.blocks import HOME, Block, Command, blocks
from tests.documents.elsewhere import reason

if TYPE_CHECKING:
    from collections.abc import Mapping

_SERVICE = """\
from fastapi import FastAPI

app = FastAPI()


@app.get("/health")
def health() -> str:
    return "ok"
"""
_HEALTH = "import urllib.request\n\nurllib.request.urlopen('http://127.0.0.1:8000/health')\n"
_TRAIN = "import numpy\n\nprint(numpy.version)\n"
_ONE_IMAGE = """\
[targets.cpu]

[groups.core]
requirements = ["numpy"]

[images.NAME]
target = "cpu"
groups = ["core"]
source = ["train.py"]
command = ["python", "train.py"]
"""
_OF_TRAIN = {"layerline.toml": _ONE_IMAGE.replace("NAME", "train"), "train.py": _TRAIN}
_OF_SERVICE = {"layerline.toml": _ONE_IMAGE.replace("NAME", "service"), "train.py": _TRAIN}
_OF_API = {"layerline.toml": _ONE_IMAGE.replace("NAME", "api"), "train.py": _TRAIN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A page in a scratch repository.

    `quick` is a pattern of the commands that need no build and no download; `again` says that the
    others need what these leave. `files` are in the repository before; `locked` says that it has
    its lock, too. `merged` are beginnings of TOML blocks that add keys to the page's file.
    `from_index` is for pages whose commands refuse wheels of a directory.
    `within` has directories below the repository, for the blocks that begin with a text.
    `replaced` are texts of the page for which the machine has others: `{registry}` is a registry,
    `{place}` the directory around the repository.
    """

    page: str
    quick: str = ""
    again: bool = False
    files: Mapping[str, str] = field(default_factory=dict)
    locked: bool = False
    within: Mapping[str, str] = field(default_factory=dict)
    merged: tuple[str, ...] = ()
    from_index: bool = False
    replaced: Mapping[str, str] = field(default_factory=dict)
    in_checkout: bool = False

    def blocks(self) -> list[Block]:
        return blocks(HOME / self.page)

    def commands(self, *, quick: bool) -> list[Command]:
        """What runs with every test run, or else with --slow, in order."""
        found = [each for block in self.blocks() for each in block.commands() if not reason(each)]
        if quick:
            return [each for each in found if self.is_quick(each)]
        return [each for each in found if self.again or not self.is_quick(each)]

    def is_quick(self, command: Command) -> bool:
        return bool(self.quick) and re.match(self.quick, command.text) is not None


_KEYS = r"openssl "
_EXAMPLE = {"registry.example.com": "{registry}"}
SESSIONS = (
    Session(
        page="README.md",
        quick=r"\./layerline (init|doctor)",
        files={"requirements.txt": "numpy\n", "src/service.py": _SERVICE},
        replaced={"/path/to/": "{place}/"},
    ),
    Session(page="CONTRIBUTING.md", quick=r"\.venv/bin/nox -l", in_checkout=True),
    Session(page="docs/tutorial.md", files={"train.py": _TRAIN}),
    Session(
        page="docs/images.md",
        files={
            "src/service.py": _SERVICE,
            "src/healthcheck.py": _HEALTH,
            "pyproject.toml": '[project]\nname = "service"\nversion = "1"\n',
            "tests/probe_model.py": "print('the model answers')\n",
        },
        merged=("[images.service]\nhealthcheck",),
        from_index=True,
        # How fast an image starts here says nothing of the page.
        replaced={"cold_start_ms = 3000": "cold_start_ms = 600000"},
    ),
    Session(page="docs/implementation-guide.md", quick=r"\./layerline (doctor|store)"),
    Session(
        page="docs/how-to/base.md",
        files=_OF_TRAIN,
        replaced={"registry.example/": "{registry}/", "/tmp/before": "{place}/before"},
    ),
    Session(page="docs/how-to/cache-volumes.md", quick=r"layerline store"),
    Session(page="docs/how-to/ci.md", files=_OF_API, locked=True),
    Session(
        page="docs/how-to/dagger-modules.md",
        within={"layerline install": "tools", "layerline check": "quality"},
    ),
    Session(
        page="docs/how-to/dagger-shell.md",
        files={**_OF_TRAIN, "build.dsh": ". | build --image=train | export --path=train.tar\n"},
        locked=True,
    ),
    Session(page="docs/how-to/indexes.md", files=_OF_TRAIN, locked=True),
    Session(page="docs/how-to/loading.md", files=_OF_API, locked=True),
    Session(page="docs/how-to/progress.md", files=_OF_SERVICE, locked=True),
    Session(
        page="docs/how-to/registry-cache.md",
        quick=_KEYS,
        again=True,
        files=_OF_API,
        locked=True,
        replaced=_EXAMPLE,
    ),
    Session(
        page="docs/how-to/verify.md",
        quick=_KEYS,
        again=True,
        files=_OF_API,
        locked=True,
        replaced={**_EXAMPLE, "/var/tmp/other": "{place}/other"},
    ),
)
