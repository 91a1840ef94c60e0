"""A warning for data sets whose images are nearly constant."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8

from vje_ppl.data.cut_files import CentralCuts
from vje_ppl.data.feature_views import FeatureViews
from vje_ppl.data.image_set import ImageSet, InMemoryImages, StreamedImages
from vje_ppl.data.preprocess import Preprocess

#: Fewer levels than this, of 256, count as constant: 12 bits that are read as 16 leave that many. Ours.
FEW_LEVELS = 16

_LOOKED_AT = 16


def contrast_warning(images: ImageSet, preprocess: Preprocess) -> str | None:
    """Look at up to 16 images, evenly spread over the set.

    Args:
        images: the training images.
        preprocess: cuts the checked square out of image files.

    Returns:
        A sentence if more than half of them are nearly constant, their values within 16 levels of 256 in each channel,
        or if all of them are nearly the same image; else None. Feature vectors are not looked at.
    """
    if isinstance(images, FeatureViews):
        return None
    seen = list(_looked_at(images, preprocess))
    advice = "check what the files hold, and how they store values of more than 8 bits, floats and transparency"
    flat = [(name, pixels) for name, pixels in seen if _spread(pixels) < FEW_LEVELS]
    if 2 * len(flat) > len(seen):
        name, pixels = flat[0]
        return (
            f"{len(flat)} of {len(seen)} training images that were looked at are nearly constant, such as {name} with "
            f"values from {pixels.min()} to {pixels.max()} of 255, so that there is little to learn; {advice}."
        )
    if len(seen) > 1 and all(_spread(pixels, seen[0][1]) < FEW_LEVELS for _, pixels in seen[1:]):
        return f"the {len(seen)} training images that were looked at are nearly the same; {advice}."
    return None


def _looked_at(images: ImageSet, preprocess: Preprocess) -> Iterator[tuple[str, UInt8[np.ndarray, "C H W"]]]:
    """Yield names and pixels of the images; of files, those that can be read."""
    for place in np.unique(np.linspace(0, len(images) - 1, min(_LOOKED_AT, len(images))).astype(int)).tolist():
        if isinstance(images, InMemoryImages):
            yield f"image {place}", images.images[place].numpy()
        elif isinstance(images, StreamedImages):
            pixels = CentralCuts(images, preprocess)[place].pixels
            if pixels is not None:
                yield images.path(place), pixels[0]


def _spread(pixels: UInt8[np.ndarray, "C H W"], other: UInt8[np.ndarray, "C H W"] | None = None) -> int:
    """Return the most that values of a channel differ; or the most that two images do."""
    if other is None:
        return int(np.ptp(pixels.astype(int), axis=(1, 2)).max())
    return int(np.abs(pixels.astype(int) - other).max())
