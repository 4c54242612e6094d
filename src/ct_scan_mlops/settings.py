"""What the environment may set, read once where a service starts.

The only module that looks at the environment. Everything below takes values: `from_environ` gets
the mapping, so that a test needs no environment of its own. An unset and an empty variable are the
same.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ct_scan_mlops.errors import SettingsInvalid

MIB = 1024 * 1024

_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


def environment() -> Mapping[str, str]:
    return os.environ


def use_plain_gcsfs() -> None:
    """Keep gcsfs from asking for the bucket's type by gRPC: a minute's wait where only HTTP passes.

    The package reads this variable when it is imported, and offers no other way.
    """
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSettings:
    """The inference API. Paths may also be `gs://` and `s3://` locations, hence text.

    `model_sha256` lists the only checkpoints to be loaded, any if it is empty. `storage_emulated`
    says that `gs://` is a stand-in that knows no credentials.
    """

    model_path: str | None = None
    features_path: str | None = None
    model_root: Path = Path("/app")
    model_sha256: frozenset[str] = frozenset()
    max_model_bytes: int = 256 * MIB
    storage_emulated: bool = False
    host: str = "0.0.0.0"
    port: int = 8080
    max_upload_bytes: int = 16 * MIB
    prediction_threads: int = 1

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        default = cls()
        return cls(
            model_path=environ.get("MODEL_PATH") or None,
            features_path=environ.get("FEATURES_PATH") or None,
            model_root=_directory(environ, "MODEL_ROOT", default.model_root),
            model_sha256=_digests(environ, "MODEL_SHA256"),
            max_model_bytes=MIB * _whole(environ, "MAX_MODEL_MB", 256, least=1, most=65536),
            storage_emulated=bool(environ.get("STORAGE_EMULATOR_HOST")),
            host=environ.get("HOST") or default.host,
            port=_whole(environ, "PORT", default.port, least=1, most=65535),
            max_upload_bytes=MIB * _whole(environ, "MAX_UPLOAD_MB", 16, least=1, most=1024),
            prediction_threads=_whole(environ, "PREDICTION_THREADS", 1, least=1, most=64),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSettings:
    """The drift API.

    `alpha` is how often equal data may be reported as drift, `psi_threshold` how large a feature's
    change must be to count, `least_observations` from how many on anything is said.
    """

    reference_path: Path | None = None
    state_dir: Path = Path("/app/outputs/reports")
    window: int = 500
    least_observations: int = 50
    alpha: float = 0.01
    psi_threshold: float = 0.1
    host: str = "0.0.0.0"
    port: int = 8001

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        default = cls()
        reference = environ.get("REFERENCE_PATH")
        window = _whole(environ, "WINDOW", default.window, least=10, most=10_000)
        return cls(
            reference_path=Path(reference) if reference else None,
            state_dir=_directory(environ, "STATE_DIR", default.state_dir),
            window=window,
            least_observations=_whole(
                environ,
                "LEAST_OBSERVATIONS",
                min(default.least_observations, window),
                least=10,
                most=window,
            ),
            alpha=_share(environ, "ALPHA", default.alpha, least=0.002, most=0.5),
            psi_threshold=_share(environ, "PSI_THRESHOLD", default.psi_threshold, least=0, most=10),
            host=environ.get("HOST") or default.host,
            port=_whole(environ, "PORT", default.port, least=1, most=65535),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingSettings:
    """Where runs are recorded; nowhere unless it is set."""

    tracking_uri: str | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        return cls(tracking_uri=environ.get("MLFLOW_TRACKING_URI") or None)


def _whole(environ: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    text = environ.get(name)
    if not text:
        return default
    # isdecimal() alone lets other scripts' digits pass, and a sign or an underscore is a slip here.
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and least <= int(text) <= most):
        message = (
            f"{name} is {text!r}, which is no whole number from {least} to {most}. "
            f"Write for example {name}={default}, or leave it out for {default}."
        )
        raise SettingsInvalid(message)
    return int(text)


def _share(
    environ: Mapping[str, str], name: str, default: float, *, least: float, most: float
) -> float:
    text = environ.get(name)
    if not text:
        return default
    if not (_DECIMAL.fullmatch(text) and least <= float(text) <= most):
        message = (
            f"{name} is {text!r}, which is no number from {least:g} to {most:g}. "
            f"Write for example {name}={default:g}, or leave it out for {default:g}."
        )
        raise SettingsInvalid(message)
    return float(text)


def _digests(environ: Mapping[str, str], name: str) -> frozenset[str]:
    digests = frozenset(environ.get(name, "").lower().replace(",", " ").split())
    for digest in digests:
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            message = (
                f"{name} has {digest!r}, which is no SHA-256 in hexadecimal. "
                "Write what sha256sum prints for the checkpoint; several are separated by commas."
            )
            raise SettingsInvalid(message)
    return digests


def _directory(environ: Mapping[str, str], name: str, default: Path) -> Path:
    text = environ.get(name)
    if not text:
        return default
    if not text.startswith("/") or "\0" in text:
        message = (
            f"{name} is {text!r}, which is no absolute path. "
            f"Write for example {name}={default}, or leave it out for {default}."
        )
        raise SettingsInvalid(message)
    return Path(text)
