"""The modification time of all files that the engine creates: equal calls give equal files."""

EPOCH = 315532800
"""1980-01-01 in UTC, in seconds: the earliest time that a zip archive, and so a wheel, can hold."""
