"""Running containers: plain directories and arguments in, an outcome out; no store, no images."""
