"""What a run is configured with: Hydra's tree, checked once and then typed and frozen."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ct_scan_mlops.errors import SettingsInvalid
from ct_scan_mlops.models.description import MAX_IMAGE_SIZE, MAX_WIDTH, Kind

Count: TypeAlias = Annotated[int, Field(ge=1)]
Width: TypeAlias = Annotated[int, Field(ge=1, le=MAX_WIDTH)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class ModelConfiguration(_Section):
    """Which model, and how fast it learns. `features` names the set that it takes."""

    name: str
    kind: Kind
    features: Literal["none", "all", "top_features"]
    image_size: Annotated[int, Field(ge=16, le=MAX_IMAGE_SIZE)]
    width: Width
    hidden: Width
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0, le=1)]


class TrainerConfiguration(_Section):
    """How long, and on what."""

    max_epochs: Count
    accelerator: Literal["auto", "cpu", "gpu"]


class DataConfiguration(_Section):
    """Where the slices are, how they are fed, and how they are made if there are none."""

    root: Path
    batch_size: Count
    num_workers: Annotated[int, Field(ge=0, le=64)]
    synthetic: bool
    synthetic_count: Count
    synthetic_seed: Annotated[int, Field(ge=0)]


class PathsConfiguration(_Section):
    """Where results go and features come from."""

    outputs: Path
    features: Path


class ProfilerConfiguration(_Section):
    """What is measured while training."""

    name: Literal["none", "simple", "pytorch"]


class Configuration(_Section):
    """One run."""

    model: ModelConfiguration
    trainer: TrainerConfiguration
    data: DataConfiguration
    paths: PathsConfiguration
    profiler: ProfilerConfiguration
    seed: Annotated[int, Field(ge=0, lt=2**32)]


def configuration(composed: DictConfig) -> Configuration:
    """Check what Hydra has composed; every mistake is told at once."""
    try:
        plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
        return Configuration.model_validate(plain)
    except OmegaConfBaseException as failure:
        message = f"The configuration cannot be resolved: {failure}. Correct the override."
        raise SettingsInvalid(message) from failure
    except ValidationError as failure:
        mistakes = "; ".join(
            f"{'.'.join(map(str, mistake['loc']))}={mistake['input']!r}: {mistake['msg']}"
            for mistake in failure.errors()
        )
        message = f"The configuration cannot be used: {mistakes}. Correct the override."
        raise SettingsInvalid(message) from failure
