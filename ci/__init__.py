"""The pipeline: a Dagger module that builds, validates and ships the images.

It reaches an engine only through the Dagger API and does not know which engine that is.
"""
