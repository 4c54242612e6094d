"""The API from outside: states, answers and refusals."""

from __future__ import annotations

import json
import resource
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import numpy as np
import pytest

from ct_scan_mlops.errors import SettingsInvalid
from ct_scan_mlops.monitoring import reference as references
from ct_scan_mlops.monitoring.comparison import MOST_EMBEDDINGS, Rule, compare
from ct_scan_mlops.monitoring.journal import Window
from ct_scan_mlops.monitoring.journal_file import NAME
from ct_scan_mlops.settings import DriftSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.workload.monitoring.conftest import Polled, Serving, Source

pytestmark = pytest.mark.anyio
JSON = {"content-type": "application/json"}


async def test_shifted_data_is_drift_and_equal_data_is_none(
    serving: Serving, settings: DriftSettings, source: Source
) -> None:
    async with serving(settings) as client:
        await client.post("/observations", json=source.observations(200, seed=2))
        before = (await client.get("/drift")).json()
        await client.post("/observations", json=source.observations(300, seed=3, shift=1.0))
        after = (await client.get("/drift")).json()
    assert before["state"] == "no drift"
    assert before["overall"]["drifted"] is False
    assert after["state"] == "drift"
    assert after["overall"]["drifted features"] == list(source.names)
    assert after["overall"]["embedding drifted"] is True
    assert after["observations"] == {"window": 300, "most": 300, "needed": 50, "received": 500}


async def test_an_empty_window_is_not_enough_yet(serving: Serving, settings: DriftSettings) -> None:
    async with serving(settings) as client:
        drift = (await client.get("/drift")).json()
        report = await client.get("/report")
        metrics = (await client.get("/metrics")).text
    assert drift["state"] == "not enough yet"
    assert drift["overall"] is None
    assert drift["features"] == {}
    assert report.status_code == 200
    assert "There are 0 of the 50 that a comparison needs." in report.text
    assert "ct_scan_drift_window_observations 0.0" in metrics
    assert "ct_scan_drift_detected" not in metrics


async def test_metrics_have_what_drift_has(
    serving: Serving, settings: DriftSettings, source: Source
) -> None:
    async with serving(settings) as client:
        await client.post("/observations", json=source.observations(60, seed=2, shift=2.0))
        drift = (await client.get("/drift")).json()
        metrics = await client.get("/metrics")
    lines = dict(
        line.rsplit(" ", 1) for line in metrics.text.splitlines() if not line.startswith("#")
    )
    name = source.names[0]
    psi = drift["features"][name]["psi"]
    assert float(lines[f'ct_scan_drift_feature_psi{{feature="{name}"}}']) == psi
    assert lines["ct_scan_drift_detected"] == "1.0"
    assert lines["ct_scan_drift_observations_total"] == "60.0"
    assert metrics.headers["content-type"].startswith("text/plain; version=")


async def test_sixteen_clients_at_once_give_what_one_batch_gives(
    serving: Serving, settings: DriftSettings, source: Source, reference_path: Path
) -> None:
    sent = source.observations(160, seed=4, shift=0.3)
    async with serving(settings) as client:

        async def post(part: int) -> None:
            for observation in sent[part::16]:
                assert (await client.post("/observations", json=observation)).status_code == 200

        async with anyio.create_task_group() as tasks:
            for part in range(16):
                tasks.start_soon(post, part)
        found = (await client.get("/drift")).json()
    rows = source.rows(160, seed=4, shift=0.3)
    split = len(source.names)
    batch = compare(
        references.load(reference_path),
        Window(
            received=160, features=rows[:, :split], embeddings=rows[:, split:].astype(np.float32)
        ),
        Rule(alpha=0.01, psi_threshold=0.1, least=50),
    )
    assert {name: item["psi"] for name, item in found["features"].items()} == {
        name: item.psi for name, item in batch.features.items()
    }
    assert batch.embedding is not None
    assert found["embedding"]["p_value"] == batch.embedding.p_value
    assert found["embedding"]["mmd2"] == pytest.approx(batch.embedding.mmd2)


async def test_the_next_service_goes_on_with_the_window(
    serving: Serving, settings: DriftSettings, source: Source
) -> None:
    async with serving(settings) as client:
        await client.post("/observations", json=source.observations(80, seed=2))
        before = (await client.get("/drift")).json()
    async with serving(settings) as client:
        assert (await client.get("/drift")).json() == before


async def test_a_damaged_state_is_told_and_does_not_stop_the_service(
    serving: Serving, settings: DriftSettings
) -> None:
    settings.state_dir.mkdir()
    (settings.state_dir / NAME).write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    async with serving(settings) as client:
        note = (await client.get("/ready")).json()["note"]
    assert str(settings.state_dir / NAME) in note
    assert "is damaged" in note
    assert "aside-1" in note


async def test_what_is_missing_is_named_with_what_to_do(
    serving: Serving, polled: Polled, settings: DriftSettings, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    missing = replace(
        settings, reference_path=tmp_path / "no.csv", state_dir=tmp_path / "file" / "state"
    )
    async with serving(missing, ready=False) as client:
        assert (await client.get("/health")).json() == {"status": "live"}
        ready = await polled(client, lambda answer: bool(answer.json()["missing"]))
        refused = [
            await client.post("/observations", json=[]),
            await client.get("/drift"),
            await client.get("/report"),
        ]
        assert "ct_scan_drift_ready 0.0" in (await client.get("/metrics")).text
    assert ready.status_code == 503
    by_variable = {item["variable"]: item["error"] for item in ready.json()["missing"]}
    assert f"{tmp_path}/no.csv is no reference" in by_variable["REFERENCE_PATH"]
    assert "Set REFERENCE_PATH to" in by_variable["REFERENCE_PATH"]
    assert "Name another directory" in by_variable["STATE_DIR"]
    assert [answer.status_code for answer in refused] == [503] * 3
    assert all(str(tmp_path) not in answer.text for answer in refused)


async def test_a_state_directory_of_another_owner_is_explained(
    serving: Serving, polled: Polled, settings: DriftSettings
) -> None:
    settings.state_dir.mkdir(mode=0o500)
    try:
        (settings.state_dir / "probe").write_text("")
    except PermissionError:
        pass
    else:
        pytest.skip("this user may write everywhere")
    async with serving(settings, ready=False) as client:
        ready = await polled(client, lambda answer: bool(answer.json()["missing"]))
    (item,) = ready.json()["missing"]
    owner = settings.state_dir.stat()
    assert str(settings.state_dir) in item["error"]
    assert f"belongs to {owner.st_uid}:{owner.st_gid}" in item["error"]
    assert "chown" in item["error"]


async def test_a_reference_that_comes_later_is_found(
    serving: Serving, polled: Polled, settings: DriftSettings, source: Source, tmp_path: Path
) -> None:
    later = replace(settings, reference_path=tmp_path / "later.csv")
    async with serving(later, ready=False) as client:
        await polled(client, lambda answer: bool(answer.json()["missing"]))
        source.write(tmp_path / "later.csv", source.rows(30, seed=1))
        ready = await polled(client, lambda answer: answer.status_code == 200)
    assert ready.json()["reference"]["rows"] == 30


async def test_a_disk_that_fills_up_refuses_and_recovers(
    serving: Serving, settings: DriftSettings, source: Source
) -> None:
    sent = source.observations(3, seed=2)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with serving(settings) as client:
        # No file may grow, which a full disk is to SQLite.
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
        try:
            refused = await client.post("/observations", json=sent)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        ready = await client.get("/ready")
        accepted = await client.post("/observations", json=sent)
    assert refused.status_code == ready.status_code == 503
    assert str(settings.state_dir) not in refused.text
    error = ready.json()["missing"][0]["error"]
    assert f"{settings.state_dir / NAME} cannot be written" in error
    assert "make room on its disk" in error
    assert accepted.json() == {"accepted": 3, "received": 3}


HOSTILE = {
    "NaN": b'{"features": {"glcm_joint_entropy": NaN}}',
    "1e999": b'{"features": {"glcm_joint_entropy": 1e999}}',
    "text NaN": b'{"features": {"glcm_joint_entropy": "NaN"}}',
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "twice": b'{"features": {}, "features": {}}',
    "a million elements": b"[" + b"1," * 999_999 + b"1]",
    "lone surrogate": b'{"\\ud800": "\\udfff"}',
    "not UTF-8": b"\xff\xfe\x00",
    "nothing": b"",
    "a million categories": b'{"features": {"glcm_joint_entropy": "' + b"x" * 1_000_000 + b'"}}',
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_json_is_refused_with_422(
    serving: Serving, settings: DriftSettings, name: str
) -> None:
    async with serving(settings) as client:
        answer = await client.post("/observations", content=HOSTILE[name], headers=JSON)
        assert (await client.get("/drift")).json()["observations"]["received"] == 0
    assert answer.status_code == 422
    assert set(answer.json()) == {"error", "what next"}


@pytest.mark.parametrize("value", [0.0, 1e9, -1e9, 1e308])
async def test_extreme_values_give_finite_json(
    serving: Serving, settings: DriftSettings, source: Source, value: float
) -> None:
    observation = {"features": dict.fromkeys(source.names, value), "embedding": [value % 1e30] * 6}
    async with serving(settings) as client:
        sent = await client.post("/observations", json=[observation] * 60)
        drift = await client.get("/drift")
        metrics = (await client.get("/metrics")).text
    assert sent.status_code == drift.status_code == 200

    def refuse(text: str) -> None:
        pytest.fail(f"{text} is not JSON")

    document = json.loads(drift.text, parse_constant=refuse)
    assert all(0 <= item["ks"] <= 1 for item in document["features"].values())
    assert "NaN" not in metrics
    assert "Inf" not in metrics


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_refused(
    serving: Serving, settings: DriftSettings, *, chunked: bool
) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while taken < 64 * 1024 * 1024:
            taken += 65536
            yield b" " * 65536

    content = endless() if chunked else b" " * (3 * 1024 * 1024)
    async with serving(settings) as client:
        answer = await client.post("/observations", content=content, headers=JSON)
    assert answer.status_code == 413
    # The limit, and as much again that is read and thrown away so that the client sees the answer.
    assert taken <= 5 * 1024 * 1024


async def test_other_types_methods_and_paths_are_refused(
    serving: Serving, settings: DriftSettings
) -> None:
    async with serving(settings) as client:
        answers = [
            await client.post(
                "/observations", content=b"{}", headers={"content-type": "text/plain"}
            ),
            await client.get("/observations"),
            await client.post("/drift"),
            await client.get("/nowhere"),
        ]
    assert [answer.status_code for answer in answers] == [415, 405, 405, 404]
    assert all(set(answer.json()) == {"error", "what next"} for answer in answers)


async def test_fuzz_gives_no_failure_and_no_leak(
    serving: Serving, settings: DriftSettings, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", "canary-8f3a")
    rng = np.random.default_rng(11)
    good = json.dumps(source.observations(2, seed=1)).encode()
    async with serving(settings) as client:
        for _ in range(1000):
            body = bytearray(good)
            for _ in range(int(rng.integers(1, 6))):
                body[int(rng.integers(len(body)))] = int(rng.integers(256))
            answer = await client.post("/observations", content=bytes(body), headers=JSON)
            assert answer.status_code in {200, 422}
            for word in ("Traceback", "site-packages", "canary-8f3a", str(settings.state_dir)):
                assert word not in answer.text


async def test_many_ranges_cost_nothing(serving: Serving, settings: DriftSettings) -> None:
    ranges = "bytes=" + ",".join(f"{n}-{n}" for n in range(10_000))
    async with serving(settings) as client:
        with anyio.fail_after(2):
            answer = await client.get("/report", headers={"range": ranges})
    assert answer.status_code == 200


async def test_the_window_takes_no_more_embeddings_than_the_comparison(
    serving: Serving, settings: DriftSettings, source: Source
) -> None:
    async with serving(replace(settings, window=1500)) as client:
        for seed in range(3):
            await client.post("/observations", json=source.observations(500, seed=seed))
        drift = (await client.get("/drift")).json()
    assert drift["observations"]["window"] == 1500
    assert drift["embedding"]["compared"] == MOST_EMBEDDINGS


def test_settings_name_what_is_wrong() -> None:
    for name, value in {"WINDOW": "9", "ALPHA": "2", "PSI_THRESHOLD": "-1", "PORT": "x"}.items():
        with pytest.raises(SettingsInvalid, match=f"{name} is '{value}'"):
            DriftSettings.from_environ({name: value})
    with pytest.raises(SettingsInvalid, match="LEAST_OBSERVATIONS is '30'"):
        DriftSettings.from_environ({"WINDOW": "20", "LEAST_OBSERVATIONS": "30"})
    assert DriftSettings.from_environ({"WINDOW": "20"}).least_observations == 20


async def test_the_environment_makes_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastapi")
    monkeypatch.setenv("REFERENCE_PATH", "/nowhere/reference.csv")
    from ct_scan_mlops.monitoring.drift_api import app

    assert {"/health", "/ready", "/observations", "/drift"} <= app.openapi()["paths"].keys()
