"""Feature sets come back as they were; nothing that only looks like one runs or costs much."""

import builtins
import functools
import json
import operator
import os
import pickle
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ct_scan_mlops.errors import FeaturesRefused, OutputUnwritable
from ct_scan_mlops.features.storage import MOST_BYTES, FeatureSet, load, save

MIB = 1024 * 1024


@pytest.fixture
def feature_set() -> FeatureSet:
    return FeatureSet(
        names=("glcm_contrast", "stat_mean"),
        mean=(4.0, 0.5),
        scale=(2.0, 0.25),
        rows={"train/benign/00001.png": (1.5, 0.25), "test/normal/00002.dcm": (2.0, -1.0)},
    )


@pytest.fixture
def document(feature_set: FeatureSet, tmp_path: Path) -> dict[str, object]:
    """A valid one, to be made worse."""
    return dict(json.loads(save(feature_set, tmp_path / "valid").read_text()))


class Calls:
    """Pickles as a call of `function`, which is how all gadgets begin."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.function, self.arguments


class WithState:
    """Pickles as an object whose state is set by a call."""

    def __reduce__(self) -> tuple[object, ...]:
        return functools.partial, (print,), (print, ("x",), {}, {})


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def by_hand(module: str, name: str, argument: str, *, call: bytes) -> bytes:
    """The same in instructions that `pickle.dumps` does not choose by itself."""
    return b"\x80\x04" + text(module) + text(name) + b"\x93" + text(argument) + call + b"."


def gadgets(canary: str) -> Iterator[tuple[str, bytes]]:
    """Each would make the file `canary`, or would look up what could."""
    command = f"touch {canary}"
    python = f"open({canary!r}, 'w')"
    called = {
        "os.system": Calls(os.system, command),
        "os.popen": Calls(os.popen, command),
        "os.mkdir": Calls(os.mkdir, canary),
        "os.open": Calls(os.open, canary, os.O_CREAT),
        "os.spawn": Calls(os.spawnlp, os.P_WAIT, "touch", "touch", canary),
        "eval": Calls(eval, python),
        "exec": Calls(exec, python),
        "compile": Calls(compile, python, "x", "exec"),
        "open": Calls(open, canary, "w"),
        "import": Calls(__import__, "this"),
        "getattr": Calls(getattr, builtins.str, "join"),
        "partial": Calls(functools.partial, os.system, command),
        "partial with state": WithState(),
        "reduce": Calls(functools.reduce, eval, (python,)),
        "map": Calls(map, eval, (python,)),
        "methodcaller": Calls(operator.methodcaller, "touch"),
        "attrgetter": Calls(operator.attrgetter, "system"),
        "Path.touch": Calls(Path.touch, Path(canary)),
        "numpy array": np.zeros(3),
        "numpy scalar": np.float64(1.0),
        "numpy.load": Calls(np.load, canary),
        "a class": FeatureSet,
        "a function": len,
        "in a list": [1.0, Calls(os.system, command)],
        "as a key": {Calls(eval, repr(canary)): 1.0},
        "bytes": b"\xff",
        "a set": {1},
        "a complex number": 1j,
    }
    for name, value in called.items():
        for protocol in (0, 2, 4):
            yield f"{name}, protocol {protocol}", pickle.dumps(value, protocol=protocol)
    modules = {
        "subprocess": "getoutput",
        "posix": "system",
        "pty": "spawn",
        "timeit": "timeit",
        "runpy": "run_path",
        "code": "interact",
        "pickle": "loads",
        "marshal": "loads",
        "importlib": "import_module",
        "shutil": "rmtree",
        "webbrowser": "open",
        "joblib.numpy_pickle": "NumpyArrayWrapper",
        "pandas.io.pickle": "read_pickle",
        "pandas": "eval",
        "torch.storage": "_load_from_bytes",
        "torch.serialization": "load",
        "numpy.testing._private.utils": "runstring",
        "sklearn.utils": "Bunch",
        "ct_scan_mlops.features.storage": "save",
    }
    for module, name in modules.items():
        yield f"{module}, reduce", by_hand(module, name, command, call=b"\x85R")
        yield f"{module}, newobj", by_hand(module, name, command, call=b"\x85\x81")
        yield f"{module}, global", f"c{module}\n{name}\n(S'{command}'\ntR.".encode()
        yield f"{module}, inst", f"(S'{command}'\ni{module}\n{name}\n.".encode()
    yield "obj", b"(cos\nsystem\n" + text(command) + b"o."
    yield "build", b"\x80\x04}" + text("a") + b"b."
    yield "extension 1", b"\x80\x04\x82\x01."
    yield "extension 4", b"\x80\x04\x84" + struct.pack("<i", 70000) + b"."
    yield "persistent", b"Pname\n."
    yield "binary persistent", b"\x80\x04" + text("name") + b"Q."


def test_no_gadget_runs_and_each_is_refused(tmp_path: Path) -> None:
    canary, file = tmp_path / "canary", tmp_path / "features_top_features.pkl"
    tried = list(gadgets(str(canary)))
    assert len(tried) > 100
    for name, data in tried:
        file.write_bytes(data)
        with pytest.raises(FeaturesRefused):
            load(file)
        assert not canary.exists(), name


def test_the_canary_would_have_sung(tmp_path: Path) -> None:
    """Else the test above would show nothing."""
    canary = tmp_path / "canary"
    working = [name for name, data in gadgets(str(canary)) if "os.system" in name and sung(data)]
    assert len(working) == 3
    assert canary.exists()


def sung(data: bytes) -> bool:
    return pickle.loads(data) == 0


def test_a_gadget_after_a_valid_set_is_not_reached(feature_set: FeatureSet, tmp_path: Path) -> None:
    file = save(feature_set, tmp_path).with_suffix(".pkl")
    canary = tmp_path / "canary"
    valid = file.read_bytes()
    gadget = pickle.dumps(Calls(os.system, f"touch {canary}"))
    file.write_bytes(valid + gadget)
    assert load(file) == feature_set
    file.write_bytes(valid[:-1] + gadget[2:])
    with pytest.raises(FeaturesRefused):
        load(file)
    assert not canary.exists()


@pytest.mark.parametrize("suffix", [".json", ".pkl"])
def test_a_set_comes_back_as_it_was(feature_set: FeatureSet, tmp_path: Path, suffix: str) -> None:
    path = save(feature_set, tmp_path).with_suffix(suffix)
    assert path.name == f"features_top_features{suffix}"
    assert load(path) == feature_set


def test_the_pickle_holds_builtins_only(feature_set: FeatureSet, tmp_path: Path) -> None:
    file = save(feature_set, tmp_path).with_suffix(".pkl")
    found = pickle.loads(file.read_bytes())
    assert type(found) is dict
    assert found == json.loads(file.with_suffix(".json").read_text())


def test_a_failed_save_leaves_the_old_set(feature_set: FeatureSet, tmp_path: Path) -> None:
    path = save(feature_set, tmp_path)
    broken = FeatureSet(names=("a",), mean=(float("nan"),), scale=(1.0,), rows={})
    with pytest.raises(ValueError, match="not JSON compliant"):
        save(broken, tmp_path)
    assert load(path) == load(path.with_suffix(".pkl")) == feature_set


def test_a_place_that_cannot_be_written_is_refused(feature_set: FeatureSet) -> None:
    with pytest.raises(OutputUnwritable, match="/proc/sys"):
        save(feature_set, Path("/proc/sys"))


def test_values_are_centred_scaled_and_put_in_order(feature_set: FeatureSet) -> None:
    found = feature_set.standardised({"stat_mean": 1.0, "other": 9.0, "glcm_contrast": 2.0})
    assert found.dtype == np.float32
    assert found.tolist() == [-1.0, 2.0]


def test_missing_values_are_named(feature_set: FeatureSet) -> None:
    with pytest.raises(FeaturesRefused, match="glcm_contrast"):
        feature_set.standardised({"stat_mean": 1.0})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "other"),
        ("version", 2),
        ("version", None),
        ("version", "1"),
        ("names", []),
        ("names", "stat_mean"),
        ("names", ["a", "a"]),
        ("names", ["a", 1]),
        ("names", ["a", ""]),
        ("names", ["a", "b", "c"]),
        ("mean", [1.0]),
        ("mean", [1.0, "1"]),
        ("mean", [1.0, None]),
        ("mean", [1.0, True]),
        ("mean", [1.0, 10**400]),
        ("scale", [1.0, 0.0]),
        ("scale", [1.0, -1.0]),
        ("rows", [[1.0, 2.0]]),
        ("rows", {"a": [1.0]}),
        ("rows", {"a": [1.0, [2.0]]}),
        ("rows", {"a": 5}),
        ("rows", None),
    ],
    ids=str,
)
@pytest.mark.parametrize("suffix", [".json", ".pkl"])
def test_a_set_that_contradicts_itself_is_refused(
    document: dict[str, object], tmp_path: Path, suffix: str, key: str, value: object
) -> None:
    document[key] = value
    file = tmp_path / f"features{suffix}"
    if suffix == ".pkl":
        file.write_bytes(pickle.dumps(document, protocol=4))
    else:
        file.write_text(json.dumps(document))
    with pytest.raises(FeaturesRefused, match=r"is no feature set: .* Make one with"):
        load(file)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_beyond_all_bounds_are_refused(
    document: dict[str, object], tmp_path: Path, number: str
) -> None:
    file = tmp_path / "features.json"
    file.write_text(json.dumps(document).replace("[4.0, 0.5]", f"[4.0, {number}]"))
    assert number in file.read_text()
    with pytest.raises(FeaturesRefused):
        load(file)


HOSTILE_JSON = {
    "deep arrays": b"[" * 100_000,
    "deep closed arrays": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "no document": b"5",
    "empty": b"",
    "no text": b"\xff\xfe\x00",
    "surrogate": b'{"format": "\\ud800"}',
    "long number": b'{"format": "ct-scan-features", "version": ' + b"1" * 100_000 + b"}",
}


@pytest.mark.parametrize("name", HOSTILE_JSON)
def test_hostile_json_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "features.json"
    file.write_bytes(HOSTILE_JSON[name])
    with pytest.raises(FeaturesRefused):
        load(file)


HOSTILE_PICKLES = {
    "empty": b"",
    "cut off": pickle.dumps({"format": "ct-scan-features"}, protocol=4)[:-3],
    "nothing on the stack": b"\x80\x04.",
    "memo that is not there": b"\x80\x04h\x05.",
    "a giant memo index": b"\x80\x04}r" + struct.pack("<I", 2**31 - 1) + b".",
    "giant text": b"\x80\x04X" + struct.pack("<I", 2**32 - 1) + b"a.",
    "giant text of 8 bytes": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"a.",
    "giant frame": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"}.",
    "giant long": b"\x80\x04\x8b" + struct.pack("<i", 2**31 - 1) + b"a.",
    "unknown protocol": b"\x80\x99}.",
    "unhashable key": b"\x80\x04}]K\x01s.",
    "set item of a list": b"\x80\x04]K\x01K\x02s.",
    "append to a number": b"\x80\x04K\x01K\x02a.",
    "contains itself": b"\x80\x04]\x94h\x00a.",
    "mark without an end": b"\x80\x04(((.",
    "no pickle": b"names,mean\n",
}


@pytest.mark.parametrize("name", HOSTILE_PICKLES)
def test_a_hostile_pickle_is_refused_in_bounded_memory(tmp_path: Path, name: str) -> None:
    file = tmp_path / "features.pkl"
    file.write_bytes(HOSTILE_PICKLES[name])
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    with pytest.raises(FeaturesRefused):
        load(file)
    assert memory("VmHWM") - before < 64 * MIB


def memory(which: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(which))


@pytest.mark.parametrize("suffix", [".json", ".pkl"])
def test_damage_gives_a_set_or_a_refusal_and_nothing_else(
    feature_set: FeatureSet, tmp_path: Path, suffix: str
) -> None:
    whole = save(feature_set, tmp_path).with_suffix(suffix).read_bytes()
    file = tmp_path / f"damaged{suffix}"
    rng = np.random.default_rng(9)
    for _ in range(500):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), rng.integers(1, 4)):
            damaged[place] = rng.integers(0, 256)
        file.write_bytes(damaged)
        try:
            found = load(file)
        except FeaturesRefused:
            continue
        assert isinstance(found, FeatureSet)


@pytest.mark.parametrize("suffix", [".json", ".pkl"])
def test_a_file_that_is_too_large_is_refused_without_being_read_whole(
    tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"features{suffix}"
    with file.open("wb") as sparse:
        sparse.truncate(2 * 1024 * MIB)
    start = time.perf_counter()
    with pytest.raises(FeaturesRefused, match=f"more than {MOST_BYTES:,} bytes"):
        load(file)
    assert time.perf_counter() - start < 1.0


@pytest.mark.parametrize("kind", ["missing", "directory", "pipe", "device", "loop"])
def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path, kind: str) -> None:
    path = Path("/dev/zero") if kind == "device" else tmp_path / "features.json"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    with pytest.raises(FeaturesRefused):
        load(path)
