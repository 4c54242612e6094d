"""Reading a checkpoint that anybody may have written, or a CheckpointRefused that says why not.

A checkpoint is what Lightning saves, with one more key, `ct_scan_model`, that says which model it
is. The bytes that are measured and compared are the bytes that are loaded: a file is read once.
There is one way to load them, `weights_only`; no other is tried when that fails.
"""

import hashlib
import io
import os
import pickle
import stat
from collections.abc import Set
from pathlib import Path

import torch
from torch import Tensor

from ct_scan_mlops.errors import CheckpointRefused
from ct_scan_mlops.models.archive import check_archive
from ct_scan_mlops.models.description import ModelDescription, SliceModel
from ct_scan_mlops.models.prediction import Classifier

DESCRIPTION_KEY = "ct_scan_model"
WEIGHTS_PREFIX = "model."
MAX_BYTES = 256 * 1024 * 1024

_TRAIN_COMMAND = "python -m ct_scan_mlops.training.run"
# What torch.load was seen to raise for damaged archives; tests mutate one to look for more.
_TORCH_REFUSALS = (
    pickle.UnpicklingError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)


def load(path: Path, *, max_bytes: int = MAX_BYTES, digests: Set[str] = frozenset()) -> Classifier:
    """Load the model in `path`. If there are `digests` (SHA-256, hexadecimal), it must have one."""
    return decode(read(path, max_bytes=max_bytes), origin=str(path), digests=digests)


def read(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file, through one descriptor: what is checked is what is read."""
    try:
        with open(path, "rb", opener=_unwaiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                message = f"{path} is no regular file. Name the checkpoint itself, e.g. best.ckpt."
                raise CheckpointRefused(message)
            if status.st_size <= max_bytes and len(data := file.read(max_bytes + 1)) <= max_bytes:
                return data
    except (OSError, ValueError) as exc:
        raise CheckpointRefused(_unread(path, exc)) from exc
    message = (
        f"{path} has more than the {max_bytes} bytes that a checkpoint may have. "
        "Name a checkpoint of this project."
    )
    raise CheckpointRefused(message)


def _unwaiting(path: str, flags: int) -> int:
    """Opening a FIFO would otherwise wait for a writer that may never come."""
    return os.open(path, flags | os.O_NONBLOCK)


def decode(data: bytes, *, origin: str, digests: Set[str] = frozenset()) -> Classifier:
    """Load bytes that came from `origin`, wherever that is: the name is for messages only."""
    found = hashlib.sha256(data).hexdigest()
    if digests and found not in {digest.lower() for digest in digests}:
        message = (
            f"{origin} has the SHA-256 {found}, which is not among the {len(digests)} allowed. "
            "Allow it if you know where it comes from, or name the model that was meant."
        )
        raise CheckpointRefused(message)
    check_archive(data, origin)
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except _TORCH_REFUSALS as exc:
        first = str(exc).partition("\n")[0][:200] or type(exc).__name__
        message = f"{origin} is damaged: torch refused it ({first}). Copy it again, or train again."
        raise CheckpointRefused(message) from exc
    if not isinstance(content, dict) or DESCRIPTION_KEY not in content:
        message = (
            f"{origin} does not say which model it is: it has no {DESCRIPTION_KEY}. It was not "
            f"written by this project's training; make one with {_TRAIN_COMMAND}."
        )
        raise CheckpointRefused(message)
    description = ModelDescription.from_document(content[DESCRIPTION_KEY], origin)
    model = description.build()
    _fill(model, content.get("state_dict"), origin)
    return Classifier(description=description, model=model)


def _fill(model: SliceModel, weights: object, origin: str) -> None:
    """Put the weights in: each of the model's, in its shape, finite, and no other."""
    own = model.state_dict()
    given = weights if isinstance(weights, dict) else {}
    fitting: dict[str, Tensor] = {}
    for name, tensor in own.items():
        value = given.get(WEIGHTS_PREFIX + name)
        if not isinstance(value, Tensor) or value.shape != tensor.shape or value.is_sparse:
            message = (
                f"{origin} has no weight {name} of shape {tuple(tensor.shape)}, which the model "
                "that it describes needs. It is mixed up or of another version: train again."
            )
            raise CheckpointRefused(message)
        fitting[name] = value
    if surplus := given.keys() - {WEIGHTS_PREFIX + name for name in own}:
        message = (
            f"{origin} has {len(surplus)} weights that the model it describes does not have. "
            "It is mixed up or of another version: train again."
        )
        raise CheckpointRefused(message)
    if not all(bool(torch.isfinite(value).all()) for value in fitting.values()):
        message = (
            f"{origin} has weights that are no finite numbers: its training diverged. "
            "Train again with a smaller model.learning_rate."
        )
        raise CheckpointRefused(message)
    model.load_state_dict(fitting, strict=True)


def _unread(path: Path, exc: OSError | ValueError) -> str:
    match exc:
        case FileNotFoundError():
            return f"There is no checkpoint {path}. Make one with {_TRAIN_COMMAND}, or mount it."
        case PermissionError():
            return (
                f"{path} may not be read by user {os.getuid()}. Give it read permission: "
                f"chmod a+r {path} (and a+x for the directories above it)."
            )
        case OSError():
            return f"{path} cannot be read: {exc.strerror}. Name a checkpoint of a training run."
        case _:
            return f"{str(path)!a} is no path: {exc}. Name a checkpoint of a training run."
