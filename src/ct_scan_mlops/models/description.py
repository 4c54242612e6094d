"""What a model is, apart from its weights: enough to build it anew and to prepare what it is given.

It travels in each checkpoint under `ct_scan_model` as plain values. `from_document` reads what
anybody may have written: it bounds every number before something is allocated by it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Self, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from ct_scan_mlops.errors import CheckpointRefused, FeaturesRefused
from ct_scan_mlops.models.dual_pathway import DualPathwayModel
from ct_scan_mlops.models.single import SingleModel

Kind: TypeAlias = Literal["single", "dual_pathway"]
SliceModel: TypeAlias = SingleModel | DualPathwayModel
KINDS: tuple[Kind, ...] = get_args(Kind)

FORMAT = 1
MAX_WIDTH = 256
MAX_IMAGE_SIZE = 1024
MAX_CLASSES = 1000
MAX_FEATURES = 4096
MAX_TEXT = 200
# In standard deviations. A slice unlike all that were learnt from must not drown the image pathway.
FEATURE_REACH = 10.0

_FEATURE_KEYS = ("feature_names", "feature_mean", "feature_scale")
_KEYS = frozenset(("format", "kind", "arguments", "classes", "image_size", *_FEATURE_KEYS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Widths:
    """How wide the layers are; `hidden` counts for the dual pathway only."""

    width: int = 16
    hidden: int = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """One model. The three feature tuples are as long as each other, and empty for `single`."""

    kind: Kind
    classes: tuple[str, ...]
    image_size: int
    widths: Widths = Widths()
    feature_names: tuple[str, ...] = ()
    feature_mean: tuple[float, ...] = ()
    feature_scale: tuple[float, ...] = ()

    @classmethod
    def from_document(cls, document: object, origin: str) -> Self:
        """Read what `document` returned. `origin` names the checkpoint in a refusal."""
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            message = (
                f"{origin} is no checkpoint of format {FORMAT}: its ct_scan_model does not say so. "
                "Train the model again with this version."
            )
            raise CheckpointRefused(message)
        try:
            return cls._parsed(document)
        except (ValueError, OverflowError) as exc:
            message = (
                f"{origin} describes no model that can be built: {exc}. Train the model again."
            )
            raise CheckpointRefused(message) from exc

    @classmethod
    def _parsed(cls, document: Mapping[object, object]) -> Self:
        if document.keys() != _KEYS:
            message = f"ct_scan_model must have exactly the keys {', '.join(sorted(_KEYS))}"
            raise ValueError(message)
        kind = next((kind for kind in KINDS if kind == document["kind"]), None)
        if kind is None:
            message = f"its kind is none of {', '.join(KINDS)}"
            raise ValueError(message)
        description = cls(
            kind=kind,
            classes=_texts("classes", document["classes"], most=MAX_CLASSES),
            image_size=_whole("image_size", document["image_size"], 16, MAX_IMAGE_SIZE),
            widths=_widths(document["arguments"]),
            feature_names=_texts("feature_names", document["feature_names"], most=MAX_FEATURES),
            feature_mean=_numbers("feature_mean", document["feature_mean"]),
            feature_scale=_numbers("feature_scale", document["feature_scale"]),
        )
        description.check()
        return description

    def check(self) -> None:
        """Raise ValueError where the fields contradict each other."""
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            message = "classes must be at least two different names"
            raise ValueError(message)
        count = len(self.feature_names)
        if len(set(self.feature_names)) != count:
            message = "feature_names must be different from each other"
            raise ValueError(message)
        if (count > 0) != (self.kind == "dual_pathway"):
            message = f"{self.kind} cannot have {count} features"
            raise ValueError(message)
        if not len(self.feature_mean) == len(self.feature_scale) == count:
            message = "feature_mean and feature_scale must have a number for each feature"
            raise ValueError(message)
        if not all(scale > 0 for scale in self.feature_scale):
            message = "each feature_scale must be above 0"
            raise ValueError(message)

    def document(self) -> dict[str, object]:
        """Plain values only: what `torch.load(weights_only=True)` reads."""
        return {
            "format": FORMAT,
            "kind": self.kind,
            "arguments": asdict(self.widths),
            "classes": list(self.classes),
            "image_size": self.image_size,
            "feature_names": list(self.feature_names),
            "feature_mean": list(self.feature_mean),
            "feature_scale": list(self.feature_scale),
        }

    def build(self) -> SliceModel:
        """A new model with random weights, from torch's own generator."""
        match self.kind:
            case "single":
                return SingleModel(classes=len(self.classes), width=self.widths.width)
            case "dual_pathway":
                return DualPathwayModel(
                    classes=len(self.classes),
                    features=len(self.feature_names),
                    width=self.widths.width,
                    hidden=self.widths.hidden,
                )

    def standardised(self, features: Mapping[str, float]) -> npt.NDArray[np.float32]:
        """The model's features, in its order, as it learnt to read them; others are left out."""
        missing = [name for name in self.feature_names if name not in features]
        if missing:
            message = (
                f"The model needs {len(self.feature_names)} features and {len(missing)} are "
                f"missing: {_some(missing)}. Extract the features with the set that the model was "
                "trained with."
            )
            raise FeaturesRefused(message)
        values = np.array([float(features[name]) for name in self.feature_names], dtype=np.float64)
        if not np.isfinite(values).all():
            wrong = [self.feature_names[index] for index in np.flatnonzero(~np.isfinite(values))]
            message = f"Not a finite number: {_some(wrong)}. Extract the features again."
            raise FeaturesRefused(message)
        with np.errstate(over="ignore"):
            scaled = (values - np.array(self.feature_mean)) / np.array(self.feature_scale)
        return np.clip(scaled, -FEATURE_REACH, FEATURE_REACH).astype(np.float32)


def _widths(value: object) -> Widths:
    if not isinstance(value, dict) or value.keys() != {"width", "hidden"}:
        message = "its arguments must be width and hidden"
        raise ValueError(message)
    return Widths(
        width=_whole("width", value["width"], 1, MAX_WIDTH),
        hidden=_whole("hidden", value["hidden"], 1, MAX_WIDTH),
    )


def _whole(name: str, value: object, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        message = f"{name} must be a whole number from {least} to {most}"
        raise ValueError(message)
    return value


def _texts(name: str, value: object, *, most: int) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > most:
        message = f"{name} must be a list of at most {most}"
        raise ValueError(message)
    texts = tuple(text for text in value if isinstance(text, str) and 0 < len(text) <= MAX_TEXT)
    if len(texts) != len(value):
        message = f"{name} must hold names of at most {MAX_TEXT} characters"
        raise ValueError(message)
    return texts


def _numbers(name: str, value: object) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) > MAX_FEATURES:
        message = f"{name} must be a list of at most {MAX_FEATURES}"
        raise ValueError(message)
    numbers = tuple(
        float(number)
        for number in value
        if isinstance(number, int | float) and math.isfinite(number)
    )
    if len(numbers) != len(value):
        message = f"{name} must hold finite numbers"
        raise ValueError(message)
    return numbers


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
