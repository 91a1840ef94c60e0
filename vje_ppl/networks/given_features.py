"""An encoder for data that are feature vectors already."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

#: What `scaling` may be.
SCALINGS = ("standard", "none")


class GivenFeatures(nn.Module):
    """Returns given feature vectors as embeddings, and has nothing to train.

    Args:
        channels: length of a vector, D.
        image_size: height and width of a view, in pixels; must be 1.
        scaling: "standard": each feature less its mean over its standard deviation, both of the training data, which
            `set_scaling` stores with the weights; "none": as they are.

    Raises:
        ValueError: for images, or another scaling.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, channels: int, image_size: int = 1, scaling: str = "standard") -> None:
        super().__init__()
        if image_size != 1:
            raise ValueError(
                f"encoder=features expects feature vectors, but the data are images of {image_size} pixels; choose "
                "another encoder, or data=features."
            )
        if scaling not in SCALINGS:
            raise ValueError(f"scaling expects {' or '.join(SCALINGS)}, got {scaling}.")
        self.dim, self.scaling = channels, scaling
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))

    def set_scaling(self, mean: Float[Tensor, " D"], scale: Float[Tensor, " D"]) -> None:
        """Store mean and standard deviation of each feature; do nothing where features stay as they are."""
        if self.scaling == "standard":
            self.mean.copy_(mean)
            self.scale.copy_(scale)

    def forward(self, images: Float[Tensor, "N D 1 1"]) -> Float[Tensor, "N D"]:
        """Return embeddings, shape (N, dim)."""
        return (images.flatten(1) - self.mean) / self.scale
