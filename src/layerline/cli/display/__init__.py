"""What the user sees: progress, results and help."""
