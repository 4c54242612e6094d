"""What `init` writes: the requirements of a repository as a `layerline.toml`."""
