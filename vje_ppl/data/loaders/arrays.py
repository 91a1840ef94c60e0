"""Images in a file of NumPy's, as `vje_ppl.fit` writes it."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64

from vje_ppl.data.hold_out import stratified_hold_out
from vje_ppl.data.image_set import ImageData, ImageSet, InMemoryImages
from vje_ppl.data.loaders.labels import UNLABELLED, label_array, labelled_part
from vje_ppl.data.selection import ClassChoice, fixed_subset, select_class
from vje_ppl.errors import UserError

IMAGES, LABELS, TEST_IMAGES, TEST_LABELS = "images", "labels", "test_images", "test_labels"

HINT = "give data.root=<its folder> and data.file=<its name>"

#: What NumPy raises for a file that it did not write, or that is damaged.
UNREADABLE = (
    *(OSError, ValueError, TypeError, EOFError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)


def arrays(
    root: str = ".",
    file: str | None = None,
    subset: int | None = None,
    test_fraction: float = 0.1,
    only_class: ClassChoice = None,
) -> ImageData:
    """Load the arrays `images` and, where they are in the file, `labels`, `test_images` and `test_labels`.

    Images are bytes of shape (N, C, H, W), with one or three channels. Labels are as for `vje_ppl.fit`.
    Without test images, a share of the labelled images is held out.

    Args:
        root: the folder of the file.
        file: the name of the `.npz` file, or of an `.npy` file that holds `images` alone.
        subset: number of training images to keep; None: all.
        test_fraction: share of each class to hold out without test images, in (0, 1).
        only_class: train on a single class, or on a list of classes, by name or number; None: on all classes.
    """
    if file is None:
        raise UserError("data=arrays needs a file; give data.file=<name>.npz, or call vje_ppl.fit(images).")
    path = Path(root) / file
    given = read_arrays(path, (IMAGES, LABELS, TEST_IMAGES, TEST_LABELS))
    pixels = {name: given[name] for name in (IMAGES, TEST_IMAGES) if name in given}
    for name, array in pixels.items():
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[1] not in (1, 3) or not len(array):
            raise UserError(
                f"{path} expects {name} as bytes of shape (N, C, H, W) with 1 or 3 channels, got {array.dtype} of "
                f"shape {array.shape}."
            )
    return assembled("arrays", path, given, IMAGES, TEST_IMAGES, InMemoryImages, subset, test_fraction, only_class)


def assembled(
    name: str,
    path: Path,
    given: dict[str, np.ndarray],
    train_name: str,
    test_name: str,
    make: Callable[..., InMemoryImages],
    subset: int | None,
    test_fraction: float,
    only_class: ClassChoice,
) -> ImageData:
    """Put a data set together from the arrays of a file.

    Args:
        name: the name of the data set.
        path: the file, for errors.
        given: the arrays by name, with `labels` and `test_labels` where they are known.
        train_name: which of them is trained on.
        test_name: which of them is tested on, if it is there.
        make: makes a set of images of an array, class indices and class names.
        subset: as for `arrays`.
        test_fraction: as for `arrays`.
        only_class: as for `arrays`.
    """
    labels, classes = _class_indices([_labels(given, name, path) for name in (LABELS, TEST_LABELS)])
    counts = (len(given[train_name]), len(given.get(test_name, ())))
    for label_name, count, label in zip((LABELS, TEST_LABELS), counts, labels, strict=True):
        if label is not None and len(label) != count:
            raise UserError(f"{path} expects a label for each image, but {label_name} has {len(label)}.")

    def images(array: np.ndarray, indices: Int64[np.ndarray, " N"] | None) -> InMemoryImages:
        if indices is None or (indices == UNLABELLED).all():
            return make(torch.from_numpy(array), None, None)
        return make(torch.from_numpy(array), torch.from_numpy(indices), classes)

    train = images(given[train_name], labels[0])
    test: ImageSet | None = None
    if test_name in given:
        whole = images(given[test_name], labels[1])
        test = labelled_part(name, "test", whole) or whole
    elif train.labels is not None:
        kept, held_out = stratified_hold_out(train.labels.numpy(), test_fraction)
        train, test = train.select(kept), train.select(held_out)
    train = fixed_subset(train, subset)
    bank, side = labelled_part(name, "training", train), min(train.images.shape[2:])
    number = len(classes) if classes else None
    return ImageData(name, select_class(train, only_class), bank, test, train.channels, side, number)


def read_arrays(path: Path, names: Sequence[str], hint: str = HINT) -> dict[str, np.ndarray]:
    """Return those arrays of a file of NumPy's that have one of some names; an `.npy` file holds the first alone.

    Args:
        path: the file.
        names: of the arrays; the first is needed.
        hint: what to do about a file that cannot be read, for the error.

    Raises:
        UserError: if the file cannot be read, or lacks the first name.
    """
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {names[0]: loaded}
            found = {name: loaded[name] for name in names if name in loaded}
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; {hint}.") from error
    except UNREADABLE as error:
        raise UserError(f"{path} cannot be read as an .npz or .npy file ({type(error).__name__}); {hint}.") from error
    if names[0] not in found:
        written = ", ".join(f"{name}=..." for name in names[:2])
        raise UserError(f"{path} has no array {names[0]}; write it with numpy.savez(path, {written}).")
    return found


def _labels(given: Mapping[str, np.ndarray], name: str, path: Path) -> np.ndarray | None:
    if name not in given:
        return None
    try:
        return label_array(given[name])
    except ValueError as error:
        raise UserError(
            f"{path} expects labels as whole numbers, with -1 for none, or as texts, got {name} {error}."
        ) from None


def _class_indices(
    given: list[np.ndarray | None],
) -> tuple[list[Int64[np.ndarray, " N"] | None], tuple[str, ...] | None]:
    """Return class indices for each array of labels, and the names of all classes."""
    known = [array for array in given if array is not None]
    if not known:
        return given, None
    if len({array.dtype.kind == "U" for array in known}) == 2:  # texts in one, whole numbers in the other
        given = [None if array is None else np.where(_has_none(array), "", array.astype(str)) for array in given]
        known = [array for array in given if array is not None]
    values = np.unique(np.concatenate([array[~_has_none(array)] for array in known]))
    indices = [None if array is None else _places(array, values) for array in given]
    return indices, tuple(map(str, values))


def _has_none(array: np.ndarray) -> np.ndarray:
    """Return which images have no label."""
    return array == ("" if array.dtype.kind == "U" else UNLABELLED)


def _places(array: np.ndarray, values: np.ndarray) -> Int64[np.ndarray, " N"]:
    return np.where(_has_none(array), UNLABELLED, np.searchsorted(values, array))
