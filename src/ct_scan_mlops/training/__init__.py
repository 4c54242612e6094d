"""Training: configured by Hydra, run by Lightning."""
