"""The deterministic preparation of images that features are computed from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from vje_ppl.errors import UserError


class Normalize:
    """Subtracts a mean and divides by a standard deviation per channel.

    Args:
        mean: one value per channel, or one for all, on the scale of 0 (black) to 1 (white).
        std: positive, one value per channel or one for all, on the same scale.
        channels: number of channels of the images.
        channels_last: whether the result lies in channels-last memory, as convolutions like it; else it is contiguous.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], channels: int, channels_last: bool = True) -> None:
        for name, values in (("mean", mean), ("std", std)):
            if len(values) not in (1, channels):
                raise UserError(
                    f"augment.{name} must hold 1 value or one per channel ({channels}), got {len(values)}: pick the "
                    f"recipe of a data set with {channels} channel(s) or set augment.{name}=[0.5]."
                )
        if not all(1e-6 <= one <= 1e6 for one in std):
            raise UserError(f"augment.std must be positive, from 1e-6 to 1e6, got {list(std)}.")
        if not all(-1e6 <= one <= 1e6 for one in mean):
            raise UserError(f"augment.mean must lie between -1e6 and 1e6, got {list(mean)}.")
        self.mean = [float(value) for value in mean] * (channels // len(mean))
        self.std = [float(value) for value in std] * (channels // len(std))
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def __call__(
        self, images: Float[Tensor, "N C H W"], out: Float[Tensor, "N C H W"] | None = None
    ) -> Float[Tensor, "N C H W"]:
        """Normalize values in [0, 1]; overwrite the input, and write the result into `out` if it is given."""
        # Channel by channel: broadcasting a tensor of three values over the batch is ten times slower on a CPU.
        for channel, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            images[:, channel].sub_(mean).div_(std)
        if out is not None:
            return out.copy_(images)
        return images.contiguous(memory_format=self.memory_format)


class Preprocess:
    """Cuts the central square of an image, resizes it and normalizes it: no randomness.

    Args:
        size: side of the result in pixels.
        center_fraction: side of the square as a share of the image's shorter side, in (0, 1].
        normalize: the normalization of the training views.
    """

    def __init__(self, size: int, center_fraction: float, normalize: Normalize) -> None:
        self.size = size
        self.center_fraction = center_fraction
        self.normalize = normalize

    def center_box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return top, left, height and width in pixels of the square that is kept of an image."""
        side = max(1, round(self.center_fraction * min(height, width)))
        return (height - side) // 2, (width - side) // 2, side, side

    def __call__(self, images: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N C size size"]:
        """Prepare a batch of images of one size.

        Args:
            images: pixel values 0 to 255, [N, C, H, W].

        Returns:
            Normalized images, [N, C, size, size].
        """
        if images.shape[1] != len(self.normalize.mean):
            raise UserError(f"expected images with {len(self.normalize.mean)} channel(s), got {images.shape[1]}.")
        check_image_size(images.shape[2], images.shape[3], self.size)
        top, left, height, width = self.center_box(*images.shape[2:])
        square = images[:, :, top : top + height, left : left + width].float().div_(255)
        if height != self.size:
            square = F.interpolate(square, size=(self.size, self.size), mode="bilinear", antialias=True)
        return self.normalize(square)

    def finish(self, pixels: UInt8[Tensor, "N C size size"]) -> Float[Tensor, "N C size size"]:
        """Normalize squares that were cut and resized already; values of 0 to 255."""
        return self.normalize(pixels.float().div_(255))


def check_image_size(height: int, width: int, size: int) -> None:
    """Refuse images that are smaller than the views cut from them."""
    if min(height, width) < size:
        raise UserError(
            f"the images are {height}×{width} pixels, smaller than the views of {size}×{size} pixels to be cut from "
            f"them: set augment.size to at most {min(height, width)}."
        )
