"""Writes a checkpoint that the API can serve, with random weights: model.py FILE."""

import sys

import torch

from ct_scan_mlops.models.description import ModelDescription

if __name__ == "__main__":
    description = ModelDescription(kind="single", classes=("one", "two"), image_size=64)
    torch.manual_seed(1)
    weights = {f"model.{key}": value for key, value in description.build().state_dict().items()}
    torch.save({"ct_scan_model": description.document(), "state_dict": weights}, sys.argv[1])
