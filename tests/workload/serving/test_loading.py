"""What the thread says when loading breaks, and when a file changes afterwards."""

import threading
from pathlib import Path

import pytest

from ct_scan_mlops.serving import attempts, loading
from ct_scan_mlops.serving.loading import Loading
from ct_scan_mlops.serving.states import Ready, Waiting
from ct_scan_mlops.settings import ServingSettings


def wait_until(condition: object, seconds: float = 20) -> None:
    assert callable(condition)
    pause = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        pause.wait(0.02)
    pytest.fail("it did not come to pass")


def test_a_file_that_changes_is_reported_and_the_model_stays(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "LAST_RETRY_SECONDS", 0.05)
    path = tmp_path / "model.ckpt"
    path.write_bytes((models / "single.ckpt").read_bytes())
    ready = threading.Event()
    thread = Loading(
        settings=ServingSettings(model_path="model.ckpt", model_root=tmp_path), on_ready=ready.set
    )
    thread.start()
    assert ready.wait(20)
    before = thread.state
    assert isinstance(before, Ready)
    assert not before.changed
    path.write_bytes((models / "dual.ckpt").read_bytes())
    wait_until(lambda: isinstance(thread.state, Ready) and thread.state.changed)
    assert isinstance(thread.state, Ready)
    assert thread.state.inference is before.inference
    thread.stop()


def test_an_unforeseen_error_is_not_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise ZeroDivisionError

    logged: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", logged.append)
    monkeypatch.setattr(attempts.Attempts, "next", breaks)
    thread = Loading(settings=ServingSettings(model_path="model.ckpt", model_root=tmp_path))
    thread.start()
    wait_until(lambda: logged)
    assert logged[0].exc_type is ZeroDivisionError
    assert isinstance(thread.state, Waiting)
    assert "See the log" in thread.state.missing[0].error
