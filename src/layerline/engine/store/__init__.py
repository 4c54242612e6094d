"""The store on disk: blobs, snapshots, cache volumes and the index of results.

Invariant: an item appears complete or not at all. The package does not know images or
containers.
"""
