"""The OCI distribution protocol: connections, login, and the repositories of a registry."""
