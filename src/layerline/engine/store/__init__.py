"""Where everything that was made is kept: blobs, snapshots, volumes and the index of results.

Invariant: a thing appears whole or not at all. The package knows nothing of images or containers.
"""
