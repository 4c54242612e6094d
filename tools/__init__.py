"""Programs of the repository's developers; not part of the product."""
