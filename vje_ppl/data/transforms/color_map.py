"""Affine maps of colours, one per image, composed before any pixel is touched."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from vje_ppl.data.transfer import to_device

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601: the weights of R, G and B in grey


@dataclass(frozen=True)
class ColorMap:
    """The map x ↦ A (x − m) + B m of every colour x of an image with mean colour m.

    Brightness, saturation, hue and greyscale have A = B. Contrast pulls colours towards the mean grey, so its B
    differs. Maps of this form are closed under composition: (A₂, B₂) after (A₁, B₁) is (A₂ A₁, B₂ B₁), since the mean
    colour after the first is B₁ m. A whole chain is thus one 3 × 3 matrix and one bias per image.

    Attributes:
        pixel: a, [N, C, C].
        mean: B, [N, C, C].
    """

    pixel: Float32[np.ndarray, "N C C"]
    mean: Float32[np.ndarray, "N C C"]

    @staticmethod
    def identity(count: int, channels: int) -> ColorMap:
        """Return the map that leaves `count` images as they are."""
        eye = np.broadcast_to(np.eye(channels, dtype=np.float32), (count, channels, channels))
        return ColorMap(eye, eye)

    def then(self, following: ColorMap) -> ColorMap:
        """Return this map followed by another."""
        return ColorMap(following.pixel @ self.pixel, following.mean @ self.mean)

    def where(self, chosen: np.ndarray) -> ColorMap:
        """Return this map for the chosen images [N], the identity for the others."""
        same = ColorMap.identity(*self.pixel.shape[:2])
        pick = chosen[:, None, None]
        return ColorMap(np.where(pick, self.pixel, same.pixel), np.where(pick, self.mean, same.mean))

    def rows(self, rows: slice) -> ColorMap:
        """Return the maps of some of the images."""
        return ColorMap(self.pixel[rows], self.mean[rows])

    def apply(self, pixels: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """Map values of 0 to 255 to [0, 1], clamping once at the end."""
        count, channels, height, width = pixels.shape
        pixel, mean = to_device(self.pixel / 255, pixels.device), to_device(self.mean / 255, pixels.device)
        bias = torch.bmm(mean - pixel, pixels.mean((2, 3))[..., None])
        mapped = torch.baddbmm(bias, pixel, pixels.view(count, channels, height * width))
        return mapped.clamp_(0, 1).view(count, channels, height, width)
