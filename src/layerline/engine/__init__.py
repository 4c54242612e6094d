"""The embedded engine: a Dagger session for one machine, without a daemon."""
