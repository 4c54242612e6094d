"""Layerline: machine-learning images built, validated, tested and shipped from Python functions."""
