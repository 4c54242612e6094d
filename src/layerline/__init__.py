"""Layerline: machine-learning container images built, validated, tested and shipped from Python functions."""
