"""Corruptions of images at rising severity, independent of the batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vje_ppl.data.transfer import to_device
from vje_ppl.data.transforms.blur import GaussianBlur
from vje_ppl.data.transforms.noise import GaussianNoise
from vje_ppl.errors import UserError
from vje_ppl.parallel.randomness import Stream, keyed_generator


class Corruption(ABC):
    """A corruption at rising severity.

    Random numbers are keyed by (seed, image) and the same at every severity: noise only becomes louder, and a larger
    occlusion covers the smaller ones.

    Args:
        severities: positive, increasing.

    Attributes:
        unit: the unit of the severity.

    Raises:
        UserError: if severities are not positive and increasing.
    """

    unit: ClassVar[str]

    def __init__(self, severities: Sequence[float]) -> None:
        rising = [0.0, *map(float, severities)]
        if len(rising) < 2 or any(not low < high for low, high in pairwise(rising)):
            raise UserError(f"A corruption expects increasing severities above 0, got {list(severities)}.")
        self.severities = tuple(rising[1:])

    @abstractmethod
    def __call__(
        self, pixels: Float[Tensor, "N C S S"], severity: float, seed: int, images: Int64[Tensor, " N"]
    ) -> Float[Tensor, "N C S S"]:
        """Corrupt images; the input is not changed.

        Args:
            pixels: values in [0, 1].
            severity: in the corruption's unit.
            seed: seed of random numbers.
            images: the images' places in their set, shape (N,).
        """


class PixelNoise(Corruption):
    """Independent normal noise on every value, clamped to [0, 1]; the severity is its standard deviation."""

    unit = "standard deviation, 1 is white"

    def __call__(
        self, pixels: Float[Tensor, "N C S S"], severity: float, seed: int, images: Int64[Tensor, " N"]
    ) -> Float[Tensor, "N C S S"]:
        """Add noise."""
        shape = tuple(pixels.shape[1:])
        noise = np.stack(
            [generator.standard_normal(shape, dtype=np.float32) for generator in _generators(seed, images)]
        )
        return GaussianNoise(severity).apply(pixels.clone(), noise * np.float32(severity))


class Blur(Corruption):
    """Gaussian blur with mirrored edges; the severity is its standard deviation as a share of the image's side."""

    unit = "standard deviation, share of the side"

    def __call__(
        self, pixels: Float[Tensor, "N C S S"], severity: float, seed: int, images: Int64[Tensor, " N"]
    ) -> Float[Tensor, "N C S S"]:
        """Blur the images; nothing is random."""
        sigma = severity * pixels.shape[-1]
        return GaussianBlur((sigma, sigma), p=1.0).apply(pixels.clone(), np.full(len(pixels), sigma, np.float32))


class Occlusion(Corruption):
    """A square of the training images' mean colour; the severity is its side as a share of the image's side.

    It covers at least one pixel. Its place is random, and a larger square covers the smaller ones.

    Args:
        severities: positive, increasing, at most 1.
        mean: the colour, in [0, 1]: one value per channel, or one for all.
    """

    unit = "side of the square, share of the side"

    def __init__(self, severities: Sequence[float], mean: Sequence[float] = (0.5,)) -> None:
        super().__init__(severities)
        if self.severities[-1] > 1:
            raise UserError(
                f"An occlusion expects severities of at most 1, the whole image, got {self.severities[-1]}."
            )
        self.mean = tuple(map(float, mean))

    def __call__(
        self, pixels: Float[Tensor, "N C S S"], severity: float, seed: int, images: Int64[Tensor, " N"]
    ) -> Float[Tensor, "N C S S"]:
        """Cover a square of each image."""
        side = pixels.shape[-1]
        covered = min(side, max(1, round(severity * side)))
        place = np.stack([generator.random(2) for generator in _generators(seed, images)])
        first = np.floor(place * (side - covered + 1)).clip(max=side - covered)
        distance = (
            torch.arange(side, device=pixels.device) - to_device(first.astype(np.int64), pixels.device)[..., None]
        )
        rows, columns = ((distance >= 0) & (distance < covered)).unbind(1)
        mask = (rows[:, :, None] & columns[:, None, :])[:, None]
        return torch.where(mask, pixels.new_tensor(self.mean).view(1, -1, 1, 1), pixels)


def _generators(seed: int, images: Int64[Tensor, " N"]) -> list[np.random.Generator]:
    return [keyed_generator(Stream.CORRUPTION, seed, image) for image in images.tolist()]
