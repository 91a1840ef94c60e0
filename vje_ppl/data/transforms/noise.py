"""Pixel noise."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32
from torch import Tensor

from vje_ppl.data.transfer import to_device
from vje_ppl.data.transforms.interfaces import Filter
from vje_ppl.errors import UserError


class GaussianNoise(Filter):
    """Adds independent normal noise to every value and clamps to [0, 1].

    The noise is drawn on the CPU for the whole global batch, so that it does not depend on the device or the number
    of processes: meant for small images.

    Args:
        std: standard deviation on the scale of 0 (black) to 1 (white), non-negative.
    """

    def __init__(self, std: float = 0.05) -> None:
        if not std >= 0:
            raise UserError(f"the noise's std must be at least 0, got {std}.")
        if std > 100:
            raise UserError(f"the noise's std must be at most 100, got {std}.")
        self.std = std

    def draw(self, rng: np.random.Generator, shape: tuple[int, int, int, int]) -> Float32[np.ndarray, "N C H W"]:
        """Draw the noise."""
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(self.std)

    def apply(
        self, images: Float[Tensor, "N C H W"], draws: Float32[np.ndarray, "N C H W"]
    ) -> Float[Tensor, "N C H W"]:
        """Add the noise in place."""
        return images.add_(to_device(draws, images.device)).clamp_(0, 1)
