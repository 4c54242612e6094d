"""Radiomics features by names and definitions of the IBSI reference manual (arXiv 1612.07003).

PyRadiomics has no wheel for Python 3.11 and does not build with numpy 2, hence our own on numpy and
scipy, which tests hold against the manual's digital phantom.
"""
