"""What torch's archives may hold here, checked on bytes before torch sees them.

`torch.load(weights_only=True)` is what keeps code from running. This comes before it: it bounds
what unpacking allocates, names what is wrong in words that a user understands, and does not depend
on what any other library has told torch to trust.
"""

import io
import pickletools
import re
import zipfile

from ct_scan_mlops.errors import CheckpointRefused

MAX_RECORDS = 10_000
MAX_STRUCTURE_BYTES = 8 * 1024 * 1024

_RECORD = re.compile(
    r"[^/]+/(data\.pkl|data/\d+|version|byteorder"
    r"|\.format_version|\.storage_alignment|\.data/serialization_id)"
)
_STRUCTURE = "/data.pkl"
_STORAGES = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Bool")
_NAMES = frozenset(
    {"collections OrderedDict", "torch._utils _rebuild_tensor_v2"}
    | {f"torch {storage}Storage" for storage in _STORAGES}
)
# RuntimeError: it is encrypted. NotImplementedError: of a later version of zip.
_ZIP_REFUSALS = (zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError)
_PROTOCOL = 2
# STACK_GLOBAL and the extension registry hide a name from who only reads; torch writes neither.
_HIDING = frozenset({"STACK_GLOBAL", "EXT1", "EXT2", "EXT4", "INST", "OBJ"})


def check_archive(data: bytes, origin: str) -> None:
    """Raise CheckpointRefused unless this is an archive of nothing but tensors and plain values."""
    if not data:
        message = f"{origin} is empty: its writing was cut off. Copy it again, or train again."
        raise CheckpointRefused(message)
    if not data.startswith(b"PK\x03\x04"):
        message = (
            f"{origin} is no checkpoint: it does not start like a zip archive, which all of ours "
            "are. Name the best.ckpt or last.ckpt of a training run."
        )
        raise CheckpointRefused(message)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            structure = archive.read(_structure(archive.infolist(), origin))
    except _ZIP_REFUSALS as exc:
        message = (
            f"{origin} is truncated or damaged: {exc}. Copy it again and compare the sizes, "
            "or train again."
        )
        raise CheckpointRefused(message) from exc
    _check_structure(structure, origin)


def _structure(records: list[zipfile.ZipInfo], origin: str) -> zipfile.ZipInfo:
    """The record that says what the tensors are, after all records were found to be torch's."""
    if len(records) > MAX_RECORDS:
        message = f"{origin} has {len(records)} records; a checkpoint has at most {MAX_RECORDS}."
        raise CheckpointRefused(message)
    names = {record.filename for record in records}
    roots = {name.partition("/")[0] for name in names}
    foreign = [name for name in sorted(names) if not _RECORD.fullmatch(name)]
    if foreign or len(roots) != 1 or len(names) != len(records):
        wrong = f"the record {foreign[0]!a}" if foreign else "records twice"
        message = (
            f"{origin} holds {wrong}, which torch does not write. Nothing in it was executed. "
            "Use only checkpoints from a training run of this project."
        )
        raise CheckpointRefused(message)
    # torch stores; what is deflated may be a thousand times as large in memory.
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        message = f"{origin} is compressed, which torch's archives are not. Use it as trained."
        raise CheckpointRefused(message)
    found = [record for record in records if record.filename.endswith(_STRUCTURE)]
    if not found or found[0].file_size > MAX_STRUCTURE_BYTES:
        message = f"{origin} has no data.pkl of at most {MAX_STRUCTURE_BYTES} bytes. Train again."
        raise CheckpointRefused(message)
    return found[0]


def _is_foreign(operation: str, argument: object) -> bool:
    match operation:
        case "GLOBAL":
            return argument not in _NAMES
        case "PROTO":
            return argument != _PROTOCOL
        case _:
            return operation in _HIDING


def _check_structure(pickled: bytes, origin: str) -> None:
    try:
        for operation, argument, _ in pickletools.genops(pickled):
            if _is_foreign(operation.name, argument):
                asked = f"{operation.name} {argument or ''}".strip()
                message = (
                    f"{origin} asks for {asked[:100]!a}; a checkpoint holds only tensors and plain "
                    "values. Nothing in it was executed. Do not use it, unless it is a model of "
                    "another program: then train it with this one."
                )
                raise CheckpointRefused(message)
    except ValueError as exc:
        message = f"{origin} is damaged: its data.pkl cannot be read ({exc}). Copy it again."
        raise CheckpointRefused(message) from exc
