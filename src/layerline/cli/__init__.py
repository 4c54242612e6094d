"""The command line: `layerline call`, `functions`, `core`, `query`, `run`, `session`, `version`."""
