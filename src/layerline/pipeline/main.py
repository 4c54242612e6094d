"""The module for projects that have only a `layerline.toml`."""

from dagger import object_type

from layerline.pipeline.functions import PipelineFunctions


@object_type
class Layerline(PipelineFunctions):
    """Machine-learning images, built and validated layer by layer from a layerline.toml."""
