"""Python modules: where their source is, what they define, and how their functions are called."""
