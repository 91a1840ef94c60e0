"""scikit-learn's handwritten digits: 1,797 grey images of 8×8 pixels that need no download."""

from __future__ import annotations

import numpy as np
import torch

from vje_ppl.data.image_set import ImageData, InMemoryImages
from vje_ppl.data.selection import ClassChoice, fixed_subset, select_class, stratified_hold_out


def digits(subset: int | None = None, only_class: ClassChoice = None) -> ImageData:
    """Load the digits, four fifths of each class to train on and one fifth to test.

    Args:
        subset: number of training images to keep; None: all.
        only_class: train on a single class, or on a list of classes, by name or number; None: on all classes.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    images = InMemoryImages(
        torch.from_numpy(pixels), torch.from_numpy(labels), tuple(str(digit) for digit in bunch.target_names)
    )
    train_indices, test_indices = stratified_hold_out(labels, 0.2)
    train = fixed_subset(images.select(train_indices), subset)
    return ImageData("digits", select_class(train, only_class), train, images.select(test_indices), 1, 8, 10)
