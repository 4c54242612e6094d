"""The doctor as a program: under a false clock, and with a damaged store."""

from __future__ import annotations

import http.server
import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from layerline import command
from layerline.doctor.catalogue import CHECKS
from layerline.doctor.runner import run_checks
from layerline.doctor.subject import Subject
from layerline.engine.store.store import Store

SOURCE = Path(__file__).parents[2] / "src"


class Registry(http.server.BaseHTTPRequestHandler):
    """Answers with the time, as every server does."""

    def do_HEAD(self) -> None:
        self.send_response(401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def program(start: str) -> list[str]:
    return [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(SOURCE)!r}); {start}"]


@pytest.mark.parametrize(("offset", "skew"), [("-3h", -10_800), ("+2d", 172_800), ("+1s", 0)])
def test_a_clock_that_faketime_has_set(tmp_path: Path, offset: str, skew: float) -> None:
    faketime = command.find("faketime")
    if faketime is None:
        pytest.skip("faketime is not installed")
    with http.server.HTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        mirror = f"docker.io=http://127.0.0.1:{server.server_port}"
        argv: list[str | Path] = [
            faketime,
            "-f",
            offset,
            *program("from layerline.doctor.__main__ import main; main()"),
        ]
        env = {"LAYERLINE_REGISTRY_MIRRORS": mirror}
        words = ("--check", "clock", "--json")
        done = command.run([*argv, *words], env=env, cwd=tmp_path, expect=(0, 1))
        server.shutdown()
    found: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    assert [abs(each["facts"]["seconds"] - skew) < 60 for each in found] == ([True] if skew else [])


@pytest.mark.usefixtures("root")
def test_a_damaged_store_is_found_by_its_own_command(tmp_path: Path) -> None:
    tool = tuple(program("from layerline.cli.main import main; main()"))
    with Store.open(tmp_path / "store") as store:
        with store.snapshots.draft() as draft:
            draft.commit("layer")
        store.settle()
    environ = {"HOME": str(tmp_path), "LAYERLINE_STORE": str(tmp_path / "store")}
    subject = Subject.of(tmp_path, environ, tool=tool)
    checks = [each for each in CHECKS if each.name == "store"]
    assert [each.status for each in run_checks(subject, checks)] == ["ok"]
    (tmp_path / "store/snapshots/layer/boot").write_text("another boot")
    (tmp_path / "store/index.db").write_bytes(b"damaged" * 1000)
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"store/index.db{suffix}").unlink(missing_ok=True)
    [result] = run_checks(subject, checks)
    assert {each.facts["kind"] for each in result.findings} == {"index", "snapshot"}
