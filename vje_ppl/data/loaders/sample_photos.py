"""Patches of the two photographs that scikit-learn ships: small natural images that need no download."""

from __future__ import annotations

import numpy as np
import torch

from vje_ppl.data.image_set import ImageData, InMemoryImages
from vje_ppl.data.selection import ClassChoice, fixed_subset, select_class

SIDE = 32  # pixels


def sample_photos(subset: int | None = None, only_class: ClassChoice = None) -> ImageData:
    """Cut both photographs into patches of 32×32 pixels.

    As on a chessboard, every other patch is a test image, so that both parts show the same scenes.

    Args:
        subset: number of training images to keep; None: all.
        only_class: train on the patches of one photograph alone, by name or number, or on a list; None: on both.
    """
    from sklearn.datasets import load_sample_images

    bunch = load_sample_images()
    names = tuple(str(name).rsplit("/", 1)[-1].removesuffix(".jpg") for name in bunch.filenames)
    halves = [_halves(np.asarray(photo)) for photo in bunch.images]

    def images(half: int) -> InMemoryImages:
        patches = [photo[half] for photo in halves]
        labels = np.repeat(np.arange(len(patches)), [len(one) for one in patches])
        return InMemoryImages(torch.from_numpy(np.concatenate(patches)), torch.from_numpy(labels), names)

    train = fixed_subset(images(0), subset)
    return ImageData("sample_photos", select_class(train, only_class), train, images(1), 3, SIDE, len(names))


def _halves(photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = photo.shape[0] // SIDE, photo.shape[1] // SIDE
    grid = photo[: rows * SIDE, : columns * SIDE].reshape(rows, SIDE, columns, SIDE, 3).transpose(0, 2, 4, 1, 3)
    white = np.add.outer(np.arange(rows), np.arange(columns)) % 2 == 0
    return np.ascontiguousarray(grid[white]), np.ascontiguousarray(grid[~white])
