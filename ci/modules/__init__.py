"""The nouns of the pipeline, one module each."""
