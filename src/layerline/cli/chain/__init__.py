"""A chain of calls: flags and arguments, and its evaluation in a session."""
