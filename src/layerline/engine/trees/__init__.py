"""File trees: differences, patches and merges, and owners and modes given as text."""
