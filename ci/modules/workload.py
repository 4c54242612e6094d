"""The reference workload in its exported images: data, features, training, and the two services.

Every image is used as exported: imported again from its archive.
"""

from dataclasses import dataclass

import dagger
from dagger import dag

from layerline.pipeline.image import Assembly
from layerline.pipeline.image_config import APP

DATA = f"{APP}/data"
OUTPUTS = f"{APP}/outputs"
FEATURES = f"{APP}/features"
CHECKPOINT = "checkpoints/best.ckpt"
FEATURE_FILE = "features_top_features.json"
FEATURE_COUNT = 16
SLICES = 600
SEED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Runs the workload in the images of one target, with or without a GPU."""

    assembly: Assembly
    gpu: bool = False

    async def export(self, image: str) -> dagger.Container:
        """An image exported as an archive and imported again."""
        built = await self.assembly.image(image)
        # As it is published: a machine that shares results then needs no bytes of the layers.
        archive = built.as_tarball(forced_compression=dagger.ImageLayerCompression.Zstd)
        return dag.container().import_(archive)

    def data(self, image: dagger.Container, *, count: int = SLICES) -> dagger.Directory:
        """A set of synthetic slices: the same count gives the same bytes."""
        argv = [f"--output={DATA}", f"--count={count}", f"--seed={SEED}"]
        made = image.with_exec(["python", "-m", "ct_scan_mlops.data.synthetic", *argv])
        return made.directory(DATA)

    def features(self, image: dagger.Container, data: dagger.Directory) -> dagger.Directory:
        """The most discriminative features of a data set."""
        place = f"{OUTPUTS}/features"
        argv = [f"--data={DATA}", f"--output={place}"]
        argv += ["--features=top_features", f"--count={FEATURE_COUNT}"]
        made = image.with_mounted_directory(DATA, data).with_exec(
            ["python", "-m", "ct_scan_mlops.features.extraction", *argv]
        )
        return made.directory(place)

    def train(
        self,
        image: dagger.Container,
        data: dagger.Directory,
        features: dagger.Directory,
        *,
        model: str,
        epochs: int,
    ) -> dagger.Directory:
        """Train a model; returns the outputs."""
        argv = training(model, epochs)
        prepared = image.with_mounted_directory(DATA, data)
        return (
            prepared.with_mounted_directory(FEATURES, features).with_exec(argv).directory(OUTPUTS)
        )


def training(model: str, epochs: int) -> list[str]:
    """The command line of a training."""
    return [
        *("python", "-m", "ct_scan_mlops.training.run", f"model={model}"),
        *(f"trainer.max_epochs={epochs}", f"data.root={DATA}"),
        *(f"paths.features={FEATURES}", f"paths.outputs={OUTPUTS}"),
    ]


def with_model(
    image: dagger.Container,
    *,
    outputs: dagger.Directory | None,
    model: dagger.File | None,
    features: dagger.Directory | None,
) -> dagger.Container:
    """Mount the model and features of an API; the service itself reports missing ones."""
    checkpoint = f"{OUTPUTS}/{CHECKPOINT}"
    if outputs is not None:
        image = image.with_mounted_directory(OUTPUTS, outputs)
    if model is not None:
        image = image.with_mounted_file(checkpoint, model)
    if features is not None:
        image = image.with_mounted_directory(FEATURES, features)
        image = image.with_env_variable("FEATURES_PATH", f"{FEATURES}/{FEATURE_FILE}")
    return image.with_env_variable("MODEL_PATH", checkpoint)


def watching(image: dagger.Container, features: dagger.Directory | None) -> dagger.Container:
    """Mount the reference of the drift service; it reports a missing one itself."""
    if features is not None:
        image = image.with_mounted_directory(FEATURES, features)
    return image.with_env_variable("REFERENCE_PATH", f"{FEATURES}/{FEATURE_FILE}")
