"""Images: references, registries, archives, and layers between tar streams and snapshots."""
