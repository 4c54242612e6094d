"""The models, their checkpoints and what they say about a slice, in plain torch."""
