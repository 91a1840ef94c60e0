"""Small rotations, shifts and changes of size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor

from vje_ppl.data.transfer import to_device
from vje_ppl.data.transforms.interfaces import Filter
from vje_ppl.errors import UserError


class RandomAffine(Filter):
    """Rotates, rescales and shifts an image about its centre; pixels from outside it are black.

    Each amount is uniform in its interval. Interpolation is bilinear.

    Args:
        degrees: largest rotation either way, in degrees.
        translate: largest shift either way, as a share of the side.
        scale: smallest and largest magnification, positive.
    """

    def __init__(self, degrees: float = 0.0, translate: float = 0.0, scale: Sequence[float] = (1.0, 1.0)) -> None:
        self.degrees = degrees
        self.translate = translate
        self.scale = (float(scale[0]), float(scale[1]))
        if not 0.01 <= self.scale[0] <= self.scale[1] <= 100:
            raise UserError(f"the affine scale must satisfy 0.01 <= lowest <= highest <= 100, got {list(self.scale)}.")
        if not (0 <= degrees <= 360 and 0 <= translate <= 1):
            raise UserError(
                f"the affine map needs degrees in [0, 360] and a translate in [0, 1], got {degrees} and {translate}."
            )

    def draw(self, rng: np.random.Generator, shape: tuple[int, int, int, int]) -> Float32[np.ndarray, "N 2 3"]:
        """Draw, for each image, the map from a place in the view to the place it is read from.

        Places are in half sides from the centre, x before y.
        """
        count = shape[0]
        angle = np.deg2rad(rng.uniform(-self.degrees, self.degrees, count))
        magnification = np.exp(rng.uniform(math.log(self.scale[0]), math.log(self.scale[1]), count))
        shift = 2 * rng.uniform(-self.translate, self.translate, (count, 2))
        cosine, sine = np.cos(angle) / magnification, np.sin(angle) / magnification
        linear = np.stack([np.stack([cosine, sine], axis=1), np.stack([-sine, cosine], axis=1)], axis=1)
        offset = -(linear @ shift[..., None])
        return np.concatenate([linear, offset], axis=2).astype(np.float32)

    def apply(self, images: Float[Tensor, "N C H W"], draws: Float32[np.ndarray, "N 2 3"]) -> Float[Tensor, "N C H W"]:
        """Resample the images through their maps."""
        grid = F.affine_grid(to_device(draws, images.device), list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
