"""The four rotations of an image as images of their own."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float64

from vje_ppl.data.feature_views import FeatureViews
from vje_ppl.data.image_set import ImageSet, InMemoryImages, StreamedImages
from vje_ppl.errors import UserError

#: Quarter turns of an image, counterclockwise.
TURNS = 4


def with_rotations[T: ImageSet](images: T) -> T:
    """Return every image followed by its rotations by 90, 180 and 270 degrees: image i becomes 4 i to 4 i + 3.

    Args:
        images: N images; those in memory must be square. For files, the cut is rotated instead of
            the whole image: the central square is the same, and a random box has the same distribution.

    Raises:
        UserError: for feature vectors, and for images in memory that are not square.
    """
    if isinstance(images, FeatureViews):
        raise UserError("rotations=true turns images, but these data are feature vectors; leave out rotations.")
    turns = np.tile(np.arange(TURNS), len(images))
    repeated = images.select(np.repeat(np.arange(len(images)), TURNS))
    if isinstance(repeated, StreamedImages):
        repeated.turns = turns
    elif isinstance(repeated, InMemoryImages):
        height, width = repeated.images.shape[2:]
        if height != width:
            raise UserError(
                f"rotations=true expects square images in memory, got {height}×{width}; crop them to squares, "
                "or, to train on a folder of images, give data.memory_mb=0, which cuts squares from the files."
            )
        for turn in range(1, TURNS):
            repeated.images[turn::TURNS] = torch.rot90(images.images, turn, (2, 3))  # type: ignore[attr-defined]
    return repeated


def mean_over_rotations(values: Float64[np.ndarray, " N"]) -> Float64[np.ndarray, " M"]:
    """Average values over the rotations of each image, which follow each other; NaN where any of them is."""
    return values.reshape(-1, TURNS).mean(1)
