"""What is attached to an image in a registry, who signed it, and whether it holds."""
