"""The reference workload in its exported images: data, features, training, and the two services.

Every image is used as it leaves: taken in again from its archive.
"""

from dataclasses import dataclass

import dagger
from dagger import dag

from layerline.pipeline.image import APP, Assembly

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
    """What the images of one target do for the user, who has a GPU or has none."""

    assembly: Assembly
    gpu: bool = False

    async def exported(self, image: str) -> dagger.Container:
        """An image after its way through an archive."""
        built = await self.assembly.image(image)
        return dag.container().import_(built.as_tarball())

    def data(self, image: dagger.Container, *, count: int = SLICES) -> dagger.Directory:
        """A set of synthetic slices: the same count gives the same bytes."""
        words = [f"--output={DATA}", f"--count={count}", f"--seed={SEED}"]
        made = image.with_exec(["python", "-m", "ct_scan_mlops.data.synthetic", *words])
        return made.directory(DATA)

    def features(self, image: dagger.Container, data: dagger.Directory) -> dagger.Directory:
        """The features that tell the classes of a set apart best."""
        place = f"{OUTPUTS}/features"
        words = [f"--data={DATA}", f"--output={place}"]
        words += ["--features=top_features", f"--count={FEATURE_COUNT}"]
        made = image.with_mounted_directory(DATA, data).with_exec(
            ["python", "-m", "ct_scan_mlops.features.extraction", *words]
        )
        return made.directory(place)

    def trained(
        self,
        image: dagger.Container,
        data: dagger.Directory,
        features: dagger.Directory,
        *,
        model: str,
        epochs: int,
    ) -> dagger.Directory:
        """The outputs of a training."""
        words = training(model, epochs)
        prepared = image.with_mounted_directory(DATA, data)
        return (
            prepared.with_mounted_directory(FEATURES, features).with_exec(words).directory(OUTPUTS)
        )


def training(model: str, epochs: int) -> list[str]:
    """The command that trains."""
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
    """The image of an API with what it serves mounted; what is absent it will ask for itself."""
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
    """The image of the drift service with its reference; an absent one it will ask for itself."""
    if features is not None:
        image = image.with_mounted_directory(FEATURES, features)
    return image.with_env_variable("REFERENCE_PATH", f"{FEATURES}/{FEATURE_FILE}")
