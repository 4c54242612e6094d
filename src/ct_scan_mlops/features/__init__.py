"""Radiomics features by names and definitions of the IBSI reference manual (arXiv 1612.07003).

They are our own, on numpy and scipy: PyRadiomics has no wheel for Python 3.11, and its source
release does not compile there (cmatrices.h is not in it). Tests hold them against the manual's
phantom.
"""
