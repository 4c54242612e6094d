"""Dagger shell: a POSIX shell whose commands are functions of the API and of modules."""
