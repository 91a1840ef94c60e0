"""Images of one data set in the form of another's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

from vje_ppl.data.image_set import ImageSet, InMemoryImages, StreamedImages

#: Weights of red, green and blue in grey: ITU-R BT.601, as Pillow converts to "L".
LUMA = (0.299, 0.587, 0.114)
_CHUNK = 4096


def conform(images: ImageSet, channels: int, side: int) -> tuple[ImageSet, str]:
    """Gives images the number of channels and, if they are in memory, the size of another data set.

    Colours become grey by luma, grey is repeated in red, green and blue; images in memory are cut to their central
    square and resized (bilinear, with antialiasing), which comes before any augmentation. Image files are only read
    with other channels: their size is dealt with as they are decoded.

    Args:
        images: the images.
        channels: 1 or 3.
        side: side in pixels.

    Returns:
        The images, unlabelled, and in words what was done.
    """
    if isinstance(images, StreamedImages):
        same = StreamedImages(
            images.files,
            channels=channels,
            workers=images.workers,
            skip_unreadable=images.skip_unreadable,
            bits=images.bits,
        )
        return same, f"read with {channels} channel(s)"
    assert isinstance(images, InMemoryImages)
    pixels = images.images
    done = []
    if pixels.shape[1] != channels:
        done.append("colour to grey" if channels == 1 else "grey to three equal channels")
    height, width = pixels.shape[2:]
    if (height, width) != (side, side):
        done.append(f"{height}×{width} to {side}×{side} pixels")
    if not done:
        return InMemoryImages(pixels), "as they are"
    converted = torch.cat([_converted(chunk, channels, side) for chunk in pixels.split(_CHUNK)])
    return InMemoryImages(converted), ", ".join(done)


def _converted(pixels: UInt8[Tensor, "N C H W"], channels: int, side: int) -> UInt8[Tensor, "N K S S"]:
    values = pixels.float()
    if channels == 1 and pixels.shape[1] == 3:
        values = (values * torch.tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True)
    elif channels == 3 and pixels.shape[1] == 1:
        values = values.expand(-1, 3, -1, -1)
    height, width = values.shape[2:]
    square = min(height, width)
    top, left = (height - square) // 2, (width - square) // 2
    values = values[:, :, top : top + square, left : left + square]
    if square != side:
        values = F.interpolate(values, size=(side, side), mode="bilinear", antialias=True)
    return values.round().clamp(0, 255).to(torch.uint8)
