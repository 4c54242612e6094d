"""What `load` takes, what it refuses, and that nothing in a refused file ever runs."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tarfile
import time
import tracemalloc
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from ct_scan_mlops.errors import CheckpointRefused
from ct_scan_mlops.models import checkpoint
from ct_scan_mlops.models.checkpoint import decode, load

if TYPE_CHECKING:
    from collections.abc import Callable

    from ct_scan_mlops.models.description import ModelDescription

    Content = dict[str, Any]
    Contents = Callable[[ModelDescription], Content]
    Saved = Callable[[ModelDescription], Path]


class Canary:
    """Makes a file when it is unpickled by who executes what a pickle asks for."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.trace),)


class EvalCanary(Canary):
    """The same by way of a built-in."""

    def __reduce__(self) -> tuple[object, ...]:
        return eval, (f"__import__('os').mkdir({str(self.trace)!r})",)


def serialised(content: object, **options: Any) -> bytes:  # noqa: ANN401
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def repacked(data: bytes, change: Callable[[str, bytes], bytes], **extra: bytes) -> bytes:
    """The archive with records changed and more added; stored, as torch stores them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
        for name, value in extra.items():
            new.writestr(name, value)
    return buffer.getvalue()


def unchanged(_: str, value: bytes) -> bytes:
    return value


@pytest.mark.parametrize("kind", ["single", "dual"])
def test_what_was_saved_is_loaded(kind: str, saved: Saved, request: pytest.FixtureRequest) -> None:
    description: ModelDescription = request.getfixturevalue(kind)

    classifier = load(saved(description))

    assert classifier.description == description
    assert not classifier.model.training
    assert not any(weight.requires_grad for weight in classifier.model.parameters())


def test_a_missing_file_is_named_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(CheckpointRefused, match=r"no checkpoint .*x\.ckpt.*training\.run"):
        load(tmp_path / "x.ckpt")


def test_a_fifo_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    started = time.monotonic()

    with pytest.raises(CheckpointRefused, match="no regular file"):
        load(tmp_path / "pipe")

    assert time.monotonic() - started < 1


@pytest.mark.parametrize("path", ["/dev/zero", "/dev", "/proc/self/environ", "a\0b"])
def test_what_is_no_checkpoint_file_is_refused(path: str) -> None:
    with pytest.raises(CheckpointRefused):
        load(Path(path))


def test_a_file_above_the_limit_is_not_read(tmp_path: Path) -> None:
    large = tmp_path / "large.ckpt"
    with large.open("wb") as file:
        file.truncate(1 << 40)
    tracemalloc.start()

    with pytest.raises(CheckpointRefused, match="more than"):
        load(large)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_only_an_allowed_digest_is_loaded(saved: Saved, single: ModelDescription) -> None:
    path = saved(single)
    digest = sha256(path.read_bytes()).hexdigest()

    load(path, digests={digest.upper()})
    with pytest.raises(CheckpointRefused, match=f"{digest}.*not among the 1 allowed"):
        load(path, digests={"0" * 64})


def test_a_digest_is_compared_before_anything_else(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"PK\x03\x04")

    with pytest.raises(CheckpointRefused, match="not among"):
        load(tmp_path / "x", digests={"0" * 64})


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_a_truncated_file_is_refused(share: float, saved: Saved, single: ModelDescription) -> None:
    path = saved(single)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])

    with pytest.raises(CheckpointRefused, match=r"(empty|no checkpoint|truncated).*again|Name"):
        load(path)


@pytest.mark.parametrize("canary", [Canary, EvalCanary])
@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_code_in_the_pickle_does_not_run(
    canary: type[Canary], layout: str, tmp_path: Path, content: Contents, single: ModelDescription
) -> None:
    trace = tmp_path / "executed"
    hostile = content(single) | {"more": canary(trace)}
    data = serialised(hostile, _use_new_zipfile_serialization=layout == "zip")

    with pytest.raises(CheckpointRefused):
        decode(data, origin="hostile.ckpt")

    assert not trace.exists()
    # The canary sings where it can, or the test would show nothing.
    torch.load(io.BytesIO(data), weights_only=False)
    assert trace.exists()


@pytest.mark.parametrize("canary", [Canary, EvalCanary])
def test_torch_s_own_lock_holds_alone(
    canary: type[Canary], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes before it is for bounds and for words; this is what nothing may get past."""
    monkeypatch.setattr(checkpoint, "check_archive", lambda *_: None)

    with pytest.raises(CheckpointRefused, match="torch refused it"):
        decode(serialised({"x": canary(tmp_path / "executed")}), origin="hostile.ckpt")

    assert not (tmp_path / "executed").exists()


def test_what_a_hostile_pickle_asks_for_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointRefused, match=r"asks for 'GLOBAL posix mkdir'.*Nothing in it was exec"
    ):
        decode(serialised({"x": Canary(tmp_path / "executed")}), origin="hostile.ckpt")


def test_a_bare_pickle_does_not_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointRefused, match="does not start like a zip"):
        decode(pickle.dumps(Canary(tmp_path / "executed")), origin="hostile.pkl")

    assert not (tmp_path / "executed").exists()


def test_torch_s_tar_format_does_not_run(tmp_path: Path) -> None:
    """The format before torch 0.1.10, which `torch.load` still recognises."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("storages", "tensors", "pickle"):
            payload = pickle.dumps(Canary(tmp_path / "executed"))
            member = tarfile.TarInfo(name)
            member.size = len(payload)
            archive.addfile(member, io.BytesIO(payload))

    with pytest.raises(CheckpointRefused, match="does not start like a zip"):
        decode(buffer.getvalue(), origin="hostile.tar")

    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["archive/evil.pkl", "archive/constants.pkl", "../data.pkl"])
def test_a_record_that_torch_does_not_write_is_refused(
    name: str, tmp_path: Path, content: Contents, single: ModelDescription
) -> None:
    payload = pickle.dumps(Canary(tmp_path / "executed"))
    data = repacked(serialised(content(single)), unchanged, **{name: payload})

    with pytest.raises(CheckpointRefused, match="torch does not write"):
        decode(data, origin="hostile.ckpt")

    assert not (tmp_path / "executed").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_pickles_of_one_name_are_refused(
    tmp_path: Path, content: Contents, single: ModelDescription
) -> None:
    """One program reads the first, another the last."""
    payload = pickle.dumps(Canary(tmp_path / "executed"), protocol=2)
    data = repacked(serialised(content(single)), unchanged, **{"archive/data.pkl": payload})

    with pytest.raises(CheckpointRefused, match="records twice"):
        decode(data, origin="hostile.ckpt")


def test_a_huge_safetensors_header_is_not_believed() -> None:
    with pytest.raises(CheckpointRefused, match="does not start like a zip"):
        decode(struct.pack("<Q", 1 << 60) + b'{"a":', origin="x.safetensors")


def test_a_deflated_archive_is_not_unpacked() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * (64 << 20))

    with pytest.raises(CheckpointRefused, match="compressed"):
        decode(buffer.getvalue(), origin="bomb.ckpt")


def test_an_encrypted_archive_is_refused(content: Contents, single: ModelDescription) -> None:
    data = bytearray(serialised(content(single)))
    data[data.index(b"PK\x01\x02") + 8] |= 1

    with pytest.raises(CheckpointRefused, match="encrypted"):
        decode(bytes(data), origin="secret.ckpt")


def test_numbers_that_ask_for_memory_do_not_get_it(
    content: Contents, single: ModelDescription
) -> None:
    """`weights_only` calls bytearray with whatever size the pickle says."""
    asked = b"\x80\x02cbuiltins\nbytearray\n\x8a\x08" + struct.pack("<q", 1 << 40) + b"\x85R."
    data = repacked(
        serialised(content(single)),
        lambda name, value: asked if name.endswith("data.pkl") else value,
    )

    with pytest.raises(CheckpointRefused, match="builtins bytearray"):
        decode(data, origin="bomb.ckpt")


@pytest.mark.parametrize("hiding", [b"\x80\x04\x8c\x02os\x8c\x06system\x93.", b"\x80\x02\x82\x01."])
def test_an_instruction_that_hides_a_name_is_refused(
    hiding: bytes, content: Contents, single: ModelDescription
) -> None:
    data = repacked(
        serialised(content(single)),
        lambda name, value: hiding if name.endswith("data.pkl") else value,
    )

    with pytest.raises(CheckpointRefused, match=r"PROTO 4|EXT1"):
        decode(data, origin="hostile.ckpt")


@pytest.mark.parametrize("part", ["data.pkl", "", "tail"])
def test_every_damage_is_a_refusal_and_nothing_else(
    part: str, content: Contents, single: ModelDescription
) -> None:
    """What torch raises for damaged archives is of many kinds; none may reach the caller."""
    whole = serialised(content(single))
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        pickled = archive.read("archive/data.pkl")
    rng = np.random.default_rng(11)
    refused = 0
    for _ in range(150):
        if part == "data.pkl":
            damaged = bytearray(pickled)
            damaged[rng.integers(len(damaged))] = rng.integers(256)
            data = repacked(
                whole,
                lambda name, value, now=bytes(damaged): now if "data.pkl" in name else value,  # type: ignore[misc]
            )
        else:
            mutable = bytearray(whole)
            first = len(whole) - 2000 if part == "tail" else 0
            mutable[rng.integers(first, len(whole))] = rng.integers(256)
            data = bytes(mutable)
        try:
            decode(data, origin="damaged.ckpt")
        except CheckpointRefused:
            refused += 1

    assert refused > 20


@pytest.mark.parametrize("value", [[1, 2], {"state_dict": {}}, torch.zeros(3)])
def test_another_format_is_told_apart(value: object) -> None:
    with pytest.raises(CheckpointRefused, match="does not say which model"):
        decode(serialised(value), origin="other.pt")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("format", 2, "format 1"),
        ("kind", "triple", "its kind"),
        ("arguments", {"width": 10**9, "hidden": 8}, "width must be"),
        ("arguments", {"width": True, "hidden": 8}, "width must be"),
        ("arguments", {"width": 4}, "width and hidden"),
        ("classes", ["a"], "two different"),
        ("classes", ["a", "a"], "two different"),
        ("classes", ["a"] * 10_000, "classes must be"),
        ("classes", ["a", ""], "classes must hold"),
        ("image_size", 10**6, "image_size must"),
        ("feature_names", ["a"], "single cannot have 1"),
        ("feature_mean", [0.0], "number for each"),
        ("feature_mean", [float("nan")], "finite"),
        ("feature_mean", [10**400], "describes no model"),
        ("more", 1, "exactly the keys"),
    ],
)
def test_a_description_that_cannot_be_built_is_refused(
    key: str, value: object, said: str, content: Contents, single: ModelDescription
) -> None:
    changed = content(single)
    changed["ct_scan_model"][key] = value

    with pytest.raises(CheckpointRefused, match=said):
        decode(serialised(changed), origin="wrong.ckpt")


def test_a_scale_of_zero_is_refused(content: Contents, dual: ModelDescription) -> None:
    changed = content(dual)
    changed["ct_scan_model"]["feature_scale"] = [0.1, 0.0]

    with pytest.raises(CheckpointRefused, match="above 0"):
        decode(serialised(changed), origin="wrong.ckpt")


@pytest.mark.parametrize(
    "weight", [None, torch.zeros(3), "text", torch.zeros(2, 32).to_sparse()], ids=str
)
def test_weights_that_do_not_fit_are_named(
    weight: object, content: Contents, single: ModelDescription
) -> None:
    changed = content(single)
    changed["state_dict"]["model.head.weight"] = weight

    with pytest.raises(CheckpointRefused, match=r"head\.weight|asks for"):
        decode(serialised(changed), origin="wrong.ckpt")


def test_weights_of_another_model_are_refused(
    content: Contents, single: ModelDescription, dual: ModelDescription
) -> None:
    mixed = content(single) | {"state_dict": content(dual)["state_dict"]}

    with pytest.raises(CheckpointRefused, match="mixed up"):
        decode(serialised(mixed), origin="mixed.ckpt")


def test_surplus_weights_are_refused(content: Contents, single: ModelDescription) -> None:
    changed = content(single)
    changed["state_dict"]["model.more"] = torch.zeros(1)

    with pytest.raises(CheckpointRefused, match="1 weights that the model"):
        decode(serialised(changed), origin="wrong.ckpt")


def test_weights_that_diverged_are_refused(content: Contents, single: ModelDescription) -> None:
    changed = content(single)
    changed["state_dict"]["model.head.bias"].fill_(float("nan"))

    with pytest.raises(CheckpointRefused, match=r"diverged.*learning_rate"):
        decode(serialised(changed), origin="nan.ckpt")
