"""A box of random area and aspect ratio."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from vje_ppl.data.transforms.interfaces import BoxTransform
from vje_ppl.errors import UserError


class RandomResizedCrop(BoxTransform):
    """Draws a box with a random share of the image's area and a random aspect ratio.

    The area's share is uniform, the logarithm of the aspect ratio is uniform, the place is uniform, all in whole
    pixels. Ten boxes are tried; if none fits, the largest central box with an allowed ratio is taken.

    Args:
        scale: smallest and largest share of the area, in (0, 1].
        ratio: smallest and largest width over height, positive.

    Source: the distribution of `torchvision.transforms.RandomResizedCrop`.
    """

    ATTEMPTS = 10

    def __init__(self, scale: Sequence[float] = (0.2, 1.0), ratio: Sequence[float] = (3 / 4, 4 / 3)) -> None:
        self.scale = (float(scale[0]), float(scale[1]))
        self.ratio = (float(ratio[0]), float(ratio[1]))
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise UserError(f"the crop's scale must satisfy 0 < lowest <= highest <= 1, got {list(self.scale)}.")
        if not 0.01 <= self.ratio[0] <= self.ratio[1] <= 100:
            raise UserError(f"the crop's ratio must satisfy 0.01 <= lowest <= highest <= 100, got {list(self.ratio)}.")

    def __call__(self, rng: np.random.Generator, boxes: Float64[np.ndarray, "N 4"]) -> Float64[np.ndarray, "N 4"]:
        """Draw one box per image inside the given ones."""
        count = len(boxes)
        full_height, full_width = np.abs(boxes[:, 2:3]), np.abs(boxes[:, 3:4])
        area = full_height * full_width * rng.uniform(*self.scale, (count, self.ATTEMPTS))
        aspect = np.exp(rng.uniform(math.log(self.ratio[0]), math.log(self.ratio[1]), (count, self.ATTEMPTS)))
        height, width = np.rint(np.sqrt(area / aspect)), np.rint(np.sqrt(area * aspect))
        fits = (height >= 1) & (height <= full_height) & (width >= 1) & (width <= full_width)

        rows, first = np.arange(count), fits.argmax(axis=1)
        found = fits[rows, first]
        fallback_height, fallback_width = self._central(full_height[:, 0], full_width[:, 0])
        height = np.where(found, height[rows, first], fallback_height)
        width = np.where(found, width[rows, first], fallback_width)

        room_above, room_left = full_height[:, 0] - height, full_width[:, 0] - width
        place = rng.random((count, 2))
        top = np.where(found, np.floor(place[:, 0] * (room_above + 1)), room_above // 2)
        left = np.where(found, np.floor(place[:, 1] * (room_left + 1)), room_left // 2)

        # A mirrored box stays mirrored: its offsets count from the edge where reading starts.
        down, right = np.sign(boxes[:, 2]), np.sign(boxes[:, 3])
        return np.stack([boxes[:, 0] + down * top, boxes[:, 1] + right * left, down * height, right * width], axis=1)

    def _central(self, height: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        too_narrow, too_wide = width / height < self.ratio[0], width / height > self.ratio[1]
        return (
            np.where(too_narrow, np.rint(width / self.ratio[0]), height),
            np.where(too_wide, np.rint(height * self.ratio[1]), width),
        )
