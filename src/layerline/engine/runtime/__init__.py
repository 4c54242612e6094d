"""Running containers: plain directories and words in, an outcome out; knows neither store nor images."""
