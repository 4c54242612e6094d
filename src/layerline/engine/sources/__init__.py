"""Files from outside the store: git repositories and downloads."""
