"""Gaussian blur of some of the images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor

from vje_ppl.data.transforms.interfaces import Filter, probability, to_device
from vje_ppl.errors import UserError


class GaussianBlur(Filter):
    """Blurs an image with probability `p`, with a standard deviation drawn uniformly; edges are mirrored.

    The kernel reaches three of the largest standard deviations either way, or to the far edge of a small image.
    Only the chosen images are touched: a row pass and a column pass over each.

    Args:
        sigma: smallest and largest standard deviation in pixels of the view, positive.
        p: probability that an image is blurred.

    Source: SimCLR's recipe, sigma 0.1 to 2 pixels at 224 pixels.
    """

    def __init__(self, sigma: Sequence[float] = (0.1, 2.0), p: float = 0.5) -> None:
        self.sigma = (float(sigma[0]), float(sigma[1]))
        self.p = probability(p)
        if not 0.01 <= self.sigma[0] <= self.sigma[1] <= 1000:
            raise UserError(f"the blur's sigma must satisfy 0.01 <= lowest <= highest <= 1000, got {list(self.sigma)}.")

    def draw(self, rng: np.random.Generator, shape: tuple[int, int, int, int]) -> Float32[np.ndarray, " N"]:
        """Draws the standard deviations in pixels; 0 stands for an image that stays sharp."""
        sigma = rng.uniform(*self.sigma, shape[0])
        return np.where(rng.random(shape[0]) < self.p, sigma, 0).astype(np.float32)

    def apply(self, images: Float[Tensor, "N C H W"], draws: Float32[np.ndarray, " N"]) -> Float[Tensor, "N C H W"]:
        """Blurs the chosen images in place."""
        # Chosen on the CPU: selecting by a mask on the device would make the CPU wait for it.
        chosen = np.flatnonzero(draws)
        if not len(chosen):
            return images
        reach = min(math.ceil(3 * self.sigma[1]), min(images.shape[2:]) - 1)
        distance = np.arange(-reach, reach + 1, dtype=np.float32)
        kernels = np.exp(-0.5 * (distance / draws[chosen, None]) ** 2)
        kernels /= kernels.sum(axis=1, keepdims=True)
        index = to_device(chosen, images.device)
        sharp = images.index_select(0, index)
        count, channels, height, width = sharp.shape
        # As one image with a channel, and a group of its own, for each channel of each chosen image.
        weights = to_device(kernels, images.device).repeat_interleave(channels, dim=0)[:, None, None]
        padded = F.pad(sharp, (reach, reach, reach, reach), mode="reflect").flatten(0, 1)[None]
        blurred = F.conv2d(padded, weights, groups=count * channels)
        blurred = F.conv2d(blurred, weights.transpose(2, 3), groups=count * channels)
        return images.index_copy_(0, index, blurred.view(count, channels, height, width))
