"""Results shared with other machines: one OCI artifact for each key, in a registry."""
