"""The pipeline: builds, validates and ships the images of a `layerline.toml`.

A Dagger module of its own, and a library for modules that add functions. It reaches an engine only
through the Dagger API, imports nothing else of `layerline`, and does not know which engine it runs
on.
"""
