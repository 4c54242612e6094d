"""The reference workload: classifies CT slices by an image network and by radiomics features.

It is what the images carry, so that they are tested with what users ship. It knows nothing of the
tool that builds them.
"""
