"""The dual pathway: the convolutional network and radiomics features, fused before the decision."""

import torch
from torch import Tensor, nn

from ct_scan_mlops.models.single import ImagePathway, Scores


class DualPathwayModel(nn.Module):
    """The image and the standardised features decide together."""

    def __init__(self, *, classes: int, features: int, width: int, hidden: int) -> None:
        super().__init__()
        self.image = ImagePathway(width=width)
        self.radiomics = nn.Sequential(
            nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )
        self.fusion = nn.Sequential(nn.Linear(self.image.outputs + hidden, hidden), nn.ReLU())
        self.head = nn.Linear(hidden, classes)

    def forward(self, pixels: Tensor, features: Tensor) -> Scores:
        """Score a batch; `features` is (n, features), standardised over the training set."""
        both = torch.cat([self.image(pixels), self.radiomics(features)], dim=1)
        embedding = self.fusion(both)
        return Scores(self.head(embedding), embedding)
