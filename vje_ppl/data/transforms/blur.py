"""Gaussian blur of some of the images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor

from vje_ppl.data.transfer import to_device
from vje_ppl.data.transforms.interfaces import Filter, probability
from vje_ppl.errors import UserError

#: Weights below it change no pixel in float32, and some of them, or their products, are subnormal numbers, with which a
#: CPU is a hundred times as slow.
_NOTHING = 1e-9


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
        """Draw the standard deviations in pixels; 0 stands for an image that stays sharp."""
        sigma = rng.uniform(*self.sigma, shape[0])
        return np.where(rng.random(shape[0]) < self.p, sigma, 0).astype(np.float32)

    def apply(self, images: Float[Tensor, "N C H W"], draws: Float32[np.ndarray, " N"]) -> Float[Tensor, "N C H W"]:
        """Blur the chosen images in place."""
        # Chosen on the CPU: selecting by a mask on the device would make the CPU wait for it.
        chosen = np.flatnonzero(draws)
        if not len(chosen):
            return images
        reach = min(math.ceil(3 * self.sigma[1]), min(images.shape[2:]) - 1)
        distance = np.arange(-reach, reach + 1, dtype=np.float32)
        kernels = np.exp(-0.5 * (distance / draws[chosen, None]) ** 2)
        kernels /= kernels.sum(axis=1, keepdims=True)
        kernels[kernels < _NOTHING] = 0
        if images.device.type == "cpu":
            for place, kernel in zip(chosen.tolist(), kernels, strict=True):
                images[place] = tap_by_tap(images[place], kernel)
            return images
        index = to_device(chosen, images.device)
        return images.index_copy_(0, index, in_groups(images.index_select(0, index), to_device(kernels, images.device)))


def tap_by_tap(image: Float[Tensor, "C H W"], kernel: Float32[np.ndarray, " K"]) -> Float[Tensor, "C H W"]:
    """Blur one image by shifted sums, which a CPU's cache holds: three times as fast there as in groups."""
    reach = len(kernel) // 2
    for axis, pad in ((1, (0, 0, reach, reach)), (2, (reach, reach, 0, 0))):
        padded, side = F.pad(image[None], pad, mode="reflect")[0], image.shape[axis]
        image = padded.narrow(axis, reach, side) * float(kernel[reach])
        for place in np.flatnonzero(kernel).tolist():
            if place != reach:
                image.add_(padded.narrow(axis, place, side), alpha=float(kernel[place]))
    return image


def in_groups(images: Float[Tensor, "N C H W"], kernels: Float[Tensor, "N K"]) -> Float[Tensor, "N C H W"]:
    """Blur images by two convolutions: as one image with a channel, and a group, for each channel of each of them."""
    count, channels, height, width = images.shape
    reach = kernels.shape[1] // 2
    weights = kernels.repeat_interleave(channels, dim=0)[:, None, None]
    padded = F.pad(images, (reach, reach, reach, reach), mode="reflect").flatten(0, 1)[None]
    blurred = F.conv2d(padded, weights, groups=count * channels)
    blurred = F.conv2d(blurred, weights.transpose(2, 3), groups=count * channels)
    return blurred.view(count, channels, height, width)
