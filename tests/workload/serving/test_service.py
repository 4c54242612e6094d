"""The service over HTTP: what it answers, what it refuses with which status, and how it ends."""

from __future__ import annotations

import signal
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import TYPE_CHECKING, Any

import httpx
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from ct_scan_mlops.data.synthetic import generate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.workload.serving.conftest import Served

    Serve = Callable[..., AbstractContextManager[Served]]
MIB = 1024 * 1024


def png_bomb() -> bytes:
    """13,000 x 13,000 pixels of one bit: 20 KB that a decoder makes hundreds of megabytes of."""
    side = 13_000

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(side * (1 + side // 8)), 9)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def dicom(syntax: UID = ExplicitVRLittleEndian, **elements: object) -> bytes:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    content = Dataset()
    content.SamplesPerPixel = 1
    content.PhotometricInterpretation = "MONOCHROME2"
    content.BitsAllocated = content.BitsStored = 16
    content.HighBit = 15
    content.PixelRepresentation = 0
    for name, value in elements.items():
        setattr(content, name, value)
    content.file_meta = meta
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, content, enforce_file_format=True)
    return buffer.getvalue()


def huge_dicom() -> bytes:
    return dicom(Rows=60_000, Columns=60_000, PixelData=bytes(64))


def deflated_dicom() -> bytes:
    pixels = bytes(256 * MIB)
    return dicom(DeflatedExplicitVRLittleEndian, Rows=64, Columns=64, PixelData=pixels)


def dicom_of_many_frames() -> bytes:
    return dicom(Rows=64, Columns=64, NumberOfFrames=10**9, PixelData=bytes(64 * 64 * 2))


def text_file() -> bytes:
    return b"This is no slice.\n" * 100


def empty_file() -> bytes:
    return b""


def gif() -> bytes:
    return b"GIF89a" + bytes(100)


@pytest.mark.parametrize(
    ("make", "statuses"),
    [
        (png_bomb, {413}),
        (huge_dicom, {413}),
        (deflated_dicom, {413, 415}),
        (dicom_of_many_frames, {413, 415, 422}),
        (text_file, {415}),
        (gif, {415}),
        (empty_file, {422}),
    ],
)
def test_what_is_no_slice_is_refused_cheaply(
    single: Served, make: Callable[[], bytes], statuses: set[int]
) -> None:
    data = make()
    before = single.memory("VmHWM")
    began = time.monotonic()
    response = single.predict(data)
    assert time.monotonic() - began < 2
    assert response.status_code in statuses, response.text
    assert response.json().keys() == {"error", "what next"}
    assert single.memory("VmHWM") - before < 64 * MIB


def test_a_slice_that_is_cut_off_is_unprocessable(single: Served, png: bytes) -> None:
    assert single.predict(png[: len(png) // 2]).status_code == 422


def test_slices_of_both_formats_are_classified(single: Served, tmp_path: Path) -> None:
    generate(tmp_path, count=12, seed=1, dicom_share=0.5)
    slices = [*tmp_path.rglob("*.dcm"), *tmp_path.rglob("*.png")]
    assert {path.suffix for path in slices} == {".dcm", ".png"}
    for path in slices:
        answer = single.predict(path.read_bytes()).json()
        assert answer.keys() == {"label", "probabilities", "model"}
        assert answer["label"] == max(answer["probabilities"], key=answer["probabilities"].get)
        assert sum(answer["probabilities"].values()) == pytest.approx(1)


def test_details_are_what_the_drift_api_takes(single: Served, png: bytes) -> None:
    answer = single.predict(png, details="true").json()
    assert answer["features"]
    assert all(isinstance(value, float) for value in answer["features"].values())
    assert all(isinstance(value, float) for value in answer["embedding"])


def test_the_same_slice_at_the_same_time_gets_the_same_answer(single: Served, png: bytes) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = {response.text for response in pool.map(single.predict, [png] * 16)}
    assert len(answers) == 1


def test_ready_says_which_model_and_what_it_needs(single: Served) -> None:
    document = single.client.get("/ready").json()
    assert document["model"]["kind"] == "single"
    assert document["model"]["classes"] == ["normal", "benign", "malignant"]
    assert len(document["model"]["sha256"]) == 64
    assert document["features"] == {"needed": [], "present": True, "location": None}


def test_metrics_count_by_route_and_status_and_by_nothing_a_client_chooses(single: Served) -> None:
    for number in range(5):
        single.client.get(f"/nothing/{number}")
    text = single.client.get("/metrics").text
    assert 'ct_scan_requests_total{route="other",status="404"}' in text
    assert "/nothing" not in text
    assert "process_resident_memory_bytes" in text
    assert "ct_scan_model_ready 1.0" in text


def test_a_body_above_the_limit_is_refused_whatever_it_says_of_its_length(single: Served) -> None:
    def endless() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
        while True:
            yield bytes(MIB)

    before = single.memory("VmHWM")
    headers = {"content-type": "multipart/form-data; boundary=x"}
    chunked = single.client.post("/predict", content=endless(), headers=headers)
    declared = single.predict(bytes(17 * MIB))
    assert (chunked.status_code, declared.status_code) == (413, 413)
    assert single.memory("VmHWM") - before < 64 * MIB
    single.client.get("/health").raise_for_status()


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([("file", (f"{number}", b"x")) for number in range(1001)], 400),
        ([(f"field{number}", (None, b"x")) for number in range(10_001)], 400),
        ([("other", ("name", b"x"))], 400),
        ([("file", (None, b"x"))], 400),
    ],
)
def test_forms_other_than_one_file_are_refused(
    single: Served, parts: list[tuple[str, tuple[str | None, bytes]]], status: int
) -> None:
    response = single.client.post("/predict", files=parts)
    assert response.status_code == status
    assert response.json().keys() == {"error", "what next"}


@pytest.mark.parametrize(
    "body", [b'{"x": NaN}', b'{"x": 1e999}', b"[" * 100_000, b'{"x": "\\ud800"}', b"\xff" * 1000]
)
def test_hostile_json_gets_no_5xx(single: Served, body: bytes) -> None:
    response = single.client.post(
        "/predict", content=body, headers={"content-type": "application/json"}
    )
    assert response.status_code == 415


def test_ten_thousand_ranges_are_of_no_interest(single: Served) -> None:
    ranges = "bytes=" + ",".join(f"{n}-{n}" for n in range(10_000))
    began = time.monotonic()
    assert single.client.get("/ready", headers={"range": ranges}).status_code in {200, 400, 431}
    assert time.monotonic() - began < 1


def test_errors_tell_nothing_of_the_machine(serve: Serve, tmp_path: Path) -> None:
    with serve(tmp_path, CANARY="canary-9f2c") as served:
        served.wait_for(503)
        requests: list[tuple[str, str, dict[str, Any]]] = [
            ("GET", "/ready", {}),
            ("POST", "/predict", {"files": {"file": b"x"}}),
            ("POST", "/predict", {"content": b"x", "headers": {"content-type": "multipart/x"}}),
            ("POST", "/predict?details=%00", {"files": {"file": b"x"}}),
            ("DELETE", "/health", {}),
            ("GET", "/../../etc/passwd", {}),
            ("GET", "/%ff%00", {}),
        ]
        for method, path, content in requests:
            response = served.client.request(method, path, **content)
            assert 400 <= response.status_code <= 503
            assert "error" in response.json()
            for secret in ("site-packages", "Traceback", "canary-9f2c", str(tmp_path)):
                assert secret not in response.text


def test_without_a_model_it_lives_and_says_what_to_set(serve: Serve, tmp_path: Path) -> None:
    with serve(tmp_path) as served:
        (missing,) = served.wait_for(503)["missing"]
        assert (missing["variable"], missing["value"]) == ("MODEL_PATH", None)
        response = served.predict(b"x")
        assert response.status_code == 503
        assert "MODEL_PATH is not set" in response.json()["error"]
        assert "retry-after" in response.headers
        assert served.memory() < 150 * MIB


def test_a_dual_model_becomes_ready_once_its_features_are_there(
    serve: Serve, models: Path, tmp_path: Path, png: bytes
) -> None:
    (tmp_path / "dual.ckpt").write_bytes((models / "dual.ckpt").read_bytes())
    environ = {"MODEL_PATH": "dual.ckpt", "FEATURES_PATH": "features_top_features.json"}
    with serve(tmp_path, **environ) as served:
        (missing,) = served.wait_for(503)["missing"]
        assert missing["variable"] == "FEATURES_PATH"
        assert served.predict(png).status_code == 503
        name = environ["FEATURES_PATH"]
        (tmp_path / name).write_bytes((models / name).read_bytes())
        assert len(served.wait_for(200)["features"]["needed"]) == 8
        assert served.predict(png).json()["model"] == "dual_pathway"


def test_it_lives_before_it_is_ready_and_sigterm_lets_requests_finish(
    serve: Serve, models: Path, png: bytes
) -> None:
    began = time.monotonic()
    with serve(models, MODEL_PATH="single.ckpt") as served:
        live = time.monotonic() - began
        assert served.client.get("/ready").status_code == 503
        served.wait_for(200)
        ready = time.monotonic() - began
        print(f"cold start: /health after {live:.2f} s, /ready after {ready:.2f} s")

        def slowly() -> Iterator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
            served.process.send_signal(signal.SIGTERM)
            for start in range(0, len(png), len(png) // 10 + 1):
                time.sleep(0.1)
                yield png[start : start + len(png) // 10 + 1]
            yield b"\r\n--x--\r\n"

        headers = {"content-type": "multipart/form-data; boundary=x"}
        began = time.monotonic()
        response = served.client.post("/predict", content=slowly(), headers=headers)
        assert response.status_code == 200
        assert served.process.wait(10) == 0
        assert time.monotonic() - began < 10


def test_sigterm_ends_within_ten_seconds_with_a_client_that_never_finishes(
    serve: Serve, models: Path
) -> None:
    with serve(models, MODEL_PATH="single.ckpt") as served:
        served.wait_for(200)

        def endlessly() -> Iterator[bytes]:
            yield b"--x\r\n"
            served.process.send_signal(signal.SIGTERM)
            while True:
                time.sleep(0.2)
                yield b"x"

        headers = {"content-type": "multipart/form-data; boundary=x"}
        began = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            upload = pool.submit(
                served.client.post, "/predict", content=endlessly(), headers=headers
            )
            assert served.process.wait(10) == 0
            assert time.monotonic() - began < 10
            assert isinstance(upload.exception(), httpx.TransportError | None)


def test_a_setting_that_cannot_be_used_is_said_at_once(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(AssertionError), serve(tmp_path, MAX_UPLOAD_MB="many"):
        pass
