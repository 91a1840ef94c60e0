"""Images of any size and number of channels in the form of a run's images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

from vje_ppl.data.transforms.color_map import LUMA


def converted(pixels: UInt8[Tensor, "N C H W"], channels: int, side: int) -> UInt8[Tensor, "N K S S"]:
    """Cut images to their central square, and resize them (bilinear, with antialiasing).

    Args:
        pixels: values 0 to 255.
        channels: K, 1 or 3: colours become grey by luma; grey is repeated in red, green and blue.
        side: S in pixels.
    """
    values = pixels.float()
    if channels == 1 and pixels.shape[1] == 3:
        values = (values * torch.from_numpy(LUMA).view(3, 1, 1)).sum(1, keepdim=True)
    elif channels == 3 and pixels.shape[1] == 1:
        values = values.expand(-1, 3, -1, -1)
    height, width = values.shape[2:]
    square = min(height, width)
    top, left = (height - square) // 2, (width - square) // 2
    values = values[:, :, top : top + square, left : left + square]
    if square != side:
        values = F.interpolate(values, size=(side, side), mode="bilinear", antialias=True)
    return values.round().clamp(0, 255).to(torch.uint8)
