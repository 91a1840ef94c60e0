"""scikit-learn's handwritten digits: 1,797 grey images of 8×8 pixels that need no download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, Int64

from vje_ppl.data.hold_out import stratified_hold_out
from vje_ppl.data.image_set import ImageData, InMemoryImages
from vje_ppl.data.selection import ClassChoice, fixed_subset, select_class


def digits(subset: int | None = None, only_class: ClassChoice = None) -> ImageData:
    """Load the digits, four fifths of each class to train on and one fifth to test.

    Args:
        subset: number of training images to keep; None: all.
        only_class: train on a single class, or on a list of classes, by name or number; None: on all classes.
    """
    values, labels = _read()
    pixels = np.rint(values * (255 / 16)).astype(np.uint8)[:, None]
    images = InMemoryImages(
        torch.from_numpy(pixels), torch.from_numpy(labels), tuple(str(digit) for digit in range(10))
    )
    train_indices, test_indices = stratified_hold_out(labels, 0.2)
    train = fixed_subset(images.select(train_indices), subset)
    return ImageData("digits", select_class(train, only_class), train, images.select(test_indices), 1, 8, 10)


def _read() -> tuple[Float64[np.ndarray, "N 8 8"], Int64[np.ndarray, " N"]]:
    """Return the images, with values from 0 to 16, and their digits."""
    package = find_spec("sklearn")
    file = Path(str(package and package.origin)).parent / "datasets" / "data" / "digits.csv.gz"
    if file.is_file():  # `load_digits` reads the same file, but importing scikit-learn takes half as long as torch
        table = np.loadtxt(file, delimiter=",")
        return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images, bunch.target.astype(np.int64)
