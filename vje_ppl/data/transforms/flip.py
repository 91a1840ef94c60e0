"""Mirrored views."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from vje_ppl.data.transforms.interfaces import BoxTransform, probability


class HorizontalFlip(BoxTransform):
    """Mirrors left and right with probability `p`."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability(p)

    def __call__(self, rng: np.random.Generator, boxes: Float64[np.ndarray, "N 4"]) -> Float64[np.ndarray, "N 4"]:
        """Read the boxes of the chosen images from right to left."""
        return _backwards(boxes, rng.random(len(boxes)) < self.p, start=1, extent=3)


class VerticalFlip(BoxTransform):
    """Mirrors top and bottom with probability `p`: for images without an up, such as those from a microscope."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability(p)

    def __call__(self, rng: np.random.Generator, boxes: Float64[np.ndarray, "N 4"]) -> Float64[np.ndarray, "N 4"]:
        """Read the boxes of the chosen images from bottom to top."""
        return _backwards(boxes, rng.random(len(boxes)) < self.p, start=0, extent=2)


def _backwards(boxes: np.ndarray, chosen: np.ndarray, *, start: int, extent: int) -> np.ndarray:
    turned = boxes.copy()
    turned[chosen, start] += turned[chosen, extent]
    turned[chosen, extent] *= -1
    return turned
