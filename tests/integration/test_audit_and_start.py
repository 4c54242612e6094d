"""An image with an old wheel on an old base: its audit, and the measurement of its start."""

from __future__ import annotations

import json
import re
import zipfile

import pytest

from layerline import command
from tests.http_server import serving_files
from tests.integration.conftest import Call, Project, succeeded
from tests.unit.pipeline.test_advisories import RECORD, issue

pytestmark = [pytest.mark.privileged, pytest.mark.network, pytest.mark.slow]

LONGEST_SECONDS = 900.0
CHECK = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/')"
DEFINITION = f"""\
[targets.cpu]
[groups.core]
requirements = ["urllib3==1.26.4"]
[images.web]
target = "cpu"
groups = ["core"]
source = ["index.html"]
command = ["python", "-m", "http.server", "8000"]
healthcheck = ["python", "-c", "{CHECK}"]
cold_start_ms = 600000
memory_mb = 1000
"""
EXCEPTIONS = """\
[audit.exceptions.PYSEC-2021-108]
reason = "no foreign URLs"
until = 2999-12-31
[audit.exceptions.CVE-2000-0001]
reason = "fixed by us"
until = 2020-01-01
[audit.exceptions.CVE-2000-9999]
reason = "a typing error"
until = 2999-12-31
"""
# No release will have this version.
LATER = "999:1"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, environ: dict[str, str]) -> Project:
    home = tmp_path_factory.mktemp("web")
    (home / "layerline.toml").write_text(DEFINITION)
    (home / "index.html").write_text("ready\n")
    command.run(["git", "init", "--quiet", home])
    known = home / "known"
    known.mkdir()
    with zipfile.ZipFile(known / "all.zip", "w") as archive:
        archive.writestr("GHSA-q2q7-5pp4-w6pg.json", json.dumps(RECORD))
    planted = {"releases": {"bookworm": issue("resolved", LATER, "high")}, "description": "old"}
    (home / "tracker.json").write_text(json.dumps({"dpkg": {"CVE-2000-0001": planted}}))
    project = Project(home=home, environ=environ)
    lock = ("call", "lock", "--target=cpu", "export", "--path=locks/cpu.txt")
    succeeded(project.call(*lock, timeout=LONGEST_SECONDS))
    return project


def audit(project: Project, *flags: str, offline: bool = False) -> Call:
    offline_flag = ["--offline"] if offline else []
    return project.call("call", *offline_flag, "audit", *flags, timeout=LONGEST_SECONDS)


GIVEN = ("--osv=known", "--tracker=tracker.json")
WHEEL = "high 7.5       CVE-2021-33503  urllib3 1.26.4  fixed in 1.26.5"


def test_an_old_wheel_and_an_old_package_are_named_offline(repository: Project) -> None:
    for offline in (False, True):
        found = audit(repository, *GIVEN, offline=offline)
        assert found.status == 1
        text = "\n".join(found.error)
        assert f"refused   {WHEEL}  locks/cpu.txt:" in text
        assert re.search(rf"CVE-2000-0001  dpkg 1\.\S+  fixed in {LATER}  ", text)
        assert "Python packages 1, packages of debian 12 " in text


def test_exceptions_are_applied_or_named(repository: Project) -> None:
    place = repository.home / "layerline.toml"
    place.write_text(DEFINITION + EXCEPTIONS)
    try:
        text = "\n".join(audit(repository, *GIVEN).error)
        printed = succeeded(audit(repository, *GIVEN, "--format=json")).stdout
    finally:
        place.write_text(DEFINITION)
    assert f"accepted  {WHEEL}" in text
    assert "note: the exception of CVE-2000-0001 ended on 2020-01-01: " in text
    assert "note: CVE-2000-9999 is not in the data: " in text
    states = {each["id"]: each["status"] for each in json.loads(printed)["vulnerabilities"]}
    assert states == {"CVE-2021-33503": "accepted", "CVE-2000-0001": "refused"}


def test_a_mirror_is_read_and_one_that_does_not_answer_is_an_error(repository: Project) -> None:
    with serving_files(repository.home / "known") as address:
        url = f"http://{address}"
        found = audit(repository, f"--osv-url={url}/all.zip", "--tracker=tracker.json")
        assert WHEEL in "\n".join(found.error)
    gone = audit(repository, f"--osv-url={url}/all.zip", "--tracker=tracker.json")
    assert gone.status == 1
    assert f"nothing was audited: {url}/all.zip cannot be read: " in gone.error[0]
    assert "give --osv=DIRECTORY" in gone.error[0]
    assert "no known" not in gone.stdout + gone.stderr
    refused = audit(repository, "--tracker=tracker.json", offline=True)
    assert "--offline is given: give --osv=DIRECTORY" in refused.error[0]


def test_the_start_is_in_the_evidence_and_not_in_the_image(repository: Project) -> None:
    saved = repository.home / "evidence.json"
    ask = ("call", "evidence", "--image=web", "export", f"--path={saved}")
    succeeded(repository.call(*ask, timeout=LONGEST_SECONDS))
    start = json.loads(saved.read_text())[-1]["start"]
    assert len(start["starts"]) == 5
    assert 0 < start["cold_start_ms"] < 600_000
    assert 0 < start["memory_mb"] < 1000
    shown = succeeded(repository.call("call", "cold-start", "--image=web")).stdout
    assert f"web: healthy after {start['cold_start_ms']} ms of 600000: " in shown
    label = ("call", "build", "--image=web", "label", "--name=layerline.evidence")
    before = succeeded(repository.call(*label, timeout=LONGEST_SECONDS)).stdout
    assert "cold_start" not in before
    place = repository.home / "layerline.toml"
    place.write_text(DEFINITION.replace("600000", "1"))
    try:
        refused = repository.call("call", "cold-start", "--image=web", timeout=LONGEST_SECONDS)
        plan = repository.call("call", "plan", "--image=web", f"--earlier={saved}")
        after = succeeded(repository.call(*label, timeout=LONGEST_SECONDS)).stdout
    finally:
        place.write_text(DEFINITION)
    assert refused.status == 1
    assert "its budget is 1 ms: import what is large once it is needed" in refused.stderr
    assert "all steps of web are cached" in succeeded(plan).stdout
    assert after == before
