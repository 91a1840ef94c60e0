"""Views without colour."""

from __future__ import annotations

import numpy as np

from vje_ppl.data.transforms.color_map import LUMA, ColorMap
from vje_ppl.data.transforms.interfaces import ColorTransform, probability


class RandomGrayscale(ColorTransform):
    """Replaces every colour by its grey, with probability `p`; images with one channel are not changed."""

    def __init__(self, p: float = 0.2) -> None:
        self.p = probability(p)

    def draw(self, rng: np.random.Generator, count: int, channels: int) -> ColorMap:
        """Draw which of `count` images lose their colour."""
        chosen = rng.random(count) < self.p
        if channels != 3:
            return ColorMap.identity(count, channels)
        grey = np.broadcast_to(np.tile(LUMA, (3, 1)), (count, 3, 3))
        return ColorMap(grey, grey).where(chosen)
