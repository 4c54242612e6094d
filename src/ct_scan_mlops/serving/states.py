"""How far the model is, as values: the loading thread makes them, the routes read them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ct_scan_mlops.web.missing import Missing

if TYPE_CHECKING:
    from ct_scan_mlops.serving.inference import Inference


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """No model yet. Nothing is missing as long as the first attempt runs."""

    missing: tuple[Missing, ...] = ()
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A model that has classified once, with the features it needs.

    `digest` is the checkpoint's SHA-256; `changed` says that the file is another one by now.
    """

    inference: "Inference"
    location: str
    features_location: str | None
    digest: str
    seconds: float
    changed: bool = False


State: TypeAlias = Waiting | Ready
