"""The radiomics features that a run's model takes, for every slice of the set."""

from pathlib import Path

from ct_scan_mlops.errors import FeaturesRefused
from ct_scan_mlops.features.extraction import extract_set
from ct_scan_mlops.features.storage import FeatureSet, load
from ct_scan_mlops.training.configuration import Configuration
from ct_scan_mlops.training.data import SliceSet

TOP_FEATURES_FILE = "features_top_features.json"


def feature_set(settings: Configuration, slices: SliceSet) -> FeatureSet:
    """What `model.features` names: none, all (extracted now), or those selected into a file."""
    match settings.model.features:
        case "none":
            return FeatureSet(
                names=(), mean=(), scale=(), rows={row.path: () for row in slices.rows}
            )
        case "all":
            return extract_set(slices.root, None)
        case "top_features":
            return _selected(settings.paths.features, slices)


def _selected(place: Path, slices: SliceSet) -> FeatureSet:
    path = place / TOP_FEATURES_FILE if place.is_dir() or not place.suffix else place
    command = (
        "python -m ct_scan_mlops.features.extraction --features top_features "
        f"--data {slices.root} --output {path.parent}"
    )
    if not path.exists():
        message = f"There is no feature set {path}. Make it with {command}"
        raise FeaturesRefused(message)
    found = load(path)
    lacking = [row.path for row in slices.rows if row.path not in found.rows]
    if lacking:
        message = (
            f"{path} was made from other slices: {len(lacking)} of {len(slices.rows)} are not in "
            f"it, the first is {lacking[0]}. Make it again with {command}"
        )
        raise FeaturesRefused(message)
    return found
