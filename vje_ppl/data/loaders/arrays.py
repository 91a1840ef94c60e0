"""Images in NumPy's `.npz` file, as `vje_ppl.fit` writes it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64

from vje_ppl.data.hold_out import stratified_hold_out
from vje_ppl.data.image_set import ImageData, InMemoryImages
from vje_ppl.data.loaders.labels import UNLABELLED, labelled
from vje_ppl.data.selection import ClassChoice, fixed_subset, select_class
from vje_ppl.errors import UserError

IMAGES, LABELS, TEST_IMAGES, TEST_LABELS = "images", "labels", "test_images", "test_labels"


def arrays(
    root: str = ".",
    file: str | None = None,
    subset: int | None = None,
    test_fraction: float = 0.1,
    only_class: ClassChoice = None,
) -> ImageData:
    """Load the arrays `images` and, where they are in the file, `labels`, `test_images` and `test_labels`.

    Images are bytes of shape (N, C, H, W), with one or three channels. Labels are whole numbers, −1 for none, or texts.
    Without test images, a share of the labelled images is held out.

    Args:
        root: the folder of the file.
        file: the name of the `.npz` file.
        subset: number of training images to keep; None: all.
        test_fraction: share of each class to hold out without test images, in (0, 1).
        only_class: train on a single class, or on a list of classes, by name or number; None: on all classes.
    """
    if file is None:
        raise UserError("data=arrays needs a file; give data.file=<name>.npz, or call vje_ppl.fit(images).")
    path = Path(root) / file
    given = _read(path)
    pixels = {name: given[name] for name in (IMAGES, TEST_IMAGES) if name in given}
    for name, array in pixels.items():
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[1] not in (1, 3) or not len(array):
            raise UserError(
                f"{path} expects {name} as bytes of shape (N, C, H, W) with 1 or 3 channels, got {array.dtype} of "
                f"shape {array.shape}."
            )
    labels, classes = _class_indices([given.get(LABELS), given.get(TEST_LABELS)])
    counts = (len(given[IMAGES]), len(given.get(TEST_IMAGES, ())))
    for name, count, label in zip((LABELS, TEST_LABELS), counts, labels, strict=True):
        if label is not None and len(label) != count:
            raise UserError(f"{path} expects a label for each image, but {name} has {len(label)}.")
    train = _images(given[IMAGES], labels[0], classes)
    test = _images(given[TEST_IMAGES], labels[1], classes) if TEST_IMAGES in given else None
    if test is None and labels[0] is not None:
        kept, held_out = stratified_hold_out(labels[0], test_fraction)
        train, test = train.select(kept), train.select(held_out)
    train = fixed_subset(train, subset)
    side = min(given[IMAGES].shape[2:])
    number = None if classes is None else len(classes)
    return ImageData("arrays", select_class(train, only_class), labelled(train), test, train.channels, side, number)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in (IMAGES, LABELS, TEST_IMAGES, TEST_LABELS) if name in file}
    except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path} cannot be read as an .npz file ({type(error).__name__}); give data.file=<name>.npz."
        ) from error
    if IMAGES not in found:
        raise UserError(f"{path} has no array {IMAGES}; write it with numpy.savez(path, images=..., labels=...).")
    return found


def _class_indices(
    given: list[np.ndarray | None],
) -> tuple[list[Int64[np.ndarray, " N"] | None], tuple[str, ...] | None]:
    """Return class indices for each array of labels, and the names of all classes."""
    known = [array for array in given if array is not None]
    if not known:
        return given, None
    values = np.unique(
        np.concatenate([array[array != UNLABELLED] if array.dtype.kind in "iu" else array for array in known])
    )
    indices = [None if array is None else _places(array, values) for array in given]
    return indices, tuple(map(str, values))


def _places(array: np.ndarray, values: np.ndarray) -> Int64[np.ndarray, " N"]:
    places = np.searchsorted(values, array).astype(np.int64)
    return np.where(array == UNLABELLED, UNLABELLED, places) if array.dtype.kind in "iu" else places


def _images(
    pixels: np.ndarray, labels: Int64[np.ndarray, " N"] | None, classes: tuple[str, ...] | None
) -> InMemoryImages:
    found = None if labels is None else torch.from_numpy(labels)
    return InMemoryImages(torch.from_numpy(pixels), found, None if labels is None else classes)
