"""Running containers: plain directories and words in, an outcome out; no store, no images."""
