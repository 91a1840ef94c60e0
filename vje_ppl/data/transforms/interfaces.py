"""The three kinds of transform that a view is made with, in the order in which they act.

Each kind separates drawing from doing. Random numbers are drawn on the CPU for the whole global batch, from a
generator that the caller keyed; the device then transforms this process's rows. So a view does not depend on the number
of processes that share a batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from vje_ppl.data.transforms.color_map import ColorMap
from vje_ppl.errors import UserError


class BoxTransform(ABC):
    """Chooses the box of a view in the image."""

    @abstractmethod
    def __call__(self, rng: np.random.Generator, boxes: Float64[np.ndarray, "N 4"]) -> Float64[np.ndarray, "N 4"]:
        """Draw one box per image inside the given ones.

        Args:
            rng: the generator to draw from.
            boxes: top, left, height and width in pixels; a negative height or width reads the box backwards,
                starting from an edge at the far side.

        Returns:
            The new boxes, in the same form.
        """


class ColorTransform(ABC):
    """Chooses an affine map of the colours."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, count: int, channels: int) -> ColorMap:
        """Draw one map for each of `count` images with `channels` channels."""


class Filter(ABC):
    """Changes the pixels of a finished cut, whose values lie in [0, 1]."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, shape: tuple[int, int, int, int]) -> Float32[np.ndarray, "N ..."]:
        """Draw the parameters of a global batch of `shape` [N, C, H, W], one row per image."""

    @abstractmethod
    def apply(self, images: Float[Tensor, "N C H W"], draws: Float32[np.ndarray, "N ..."]) -> Float[Tensor, "N C H W"]:
        """Change the images by their rows of parameters; may overwrite the input."""


def probability(value: float) -> float:
    """Return `value`, or refuse it if it is not a probability."""
    if not 0 <= value <= 1:
        raise UserError(f"a transform's p must lie between 0 and 1, got {value}.")
    return value
