"""Fixed choices among images: the same on every machine and for every seed of a run."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from vje_ppl.data.image_set import InMemoryImages
from vje_ppl.data.keys import Stream, keyed_generator
from vje_ppl.errors import UserError


def subset_indices(total: int, count: int | None) -> Int64[np.ndarray, " M"]:
    """Chooses `count` of `total` images at random, in increasing order; None: all.

    A larger subset contains every smaller one.

    Raises:
        UserError: if `count` is not between 1 and `total`.
    """
    if count is None:
        return np.arange(total)
    if not 1 <= count <= total:
        raise UserError(f"data.subset={count} asks for a part of the {total} training images; set it to 1 to {total}.")
    return np.sort(keyed_generator(Stream.SUBSET).permutation(total)[:count])


def fixed_subset(images: InMemoryImages, count: int | None) -> InMemoryImages:
    """Chooses `count` of the images, as `subset_indices` does; None: all."""
    return images if count is None else images.select(subset_indices(len(images), count))


def stratified_hold_out(
    labels: Int64[np.ndarray, " N"], fraction: float
) -> tuple[Int64[np.ndarray, " T"], Int64[np.ndarray, " H"]]:
    """Splits images so that each class gives the same share to the held-out part.

    Every class of at least two images keeps one image or more on either side.

    Args:
        labels: class indices, [N].
        fraction: share to hold out, in (0, 1).

    Returns:
        Indices to train on and indices held out, both increasing.
    """
    if not 0 < fraction < 1:
        raise UserError(f"data.test_fraction must lie between 0 and 1, got {fraction}.")
    rng = keyed_generator(Stream.HOLD_OUT)
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        held_out[rng.permutation(members)[:count]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
