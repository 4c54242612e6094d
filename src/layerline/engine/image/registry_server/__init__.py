"""A read-only registry out of the store: the pull part of the OCI distribution specification."""
