"""File trees: what differs between two, patches and merges of them, owners and modes by name."""
