"""Feature vectors in a file of NumPy, in place of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vje_ppl.data.feature_views import FeatureViews
from vje_ppl.data.image_set import ImageData
from vje_ppl.data.loaders.arrays import LABELS, TEST_LABELS, assembled, read_arrays
from vje_ppl.data.selection import ClassChoice
from vje_ppl.errors import UserError

FEATURES, TEST_FEATURES = "features", "test_features"


def features(
    root: str = ".",
    file: str | None = None,
    subset: int | None = None,
    test_fraction: float = 0.1,
    only_class: ClassChoice = None,
) -> ImageData:
    """Load the array `features` and, where they are in the file, `labels`, `test_features` and `test_labels`.

    Features are floats of shape (N, V, D): vectors of V views of each image, and V is at least 2. Test features may
    have the shape (N, D), a single view. Labels are whole numbers, −1 for none, or texts. Without test features, a
    share of the labelled images is held out.

    Args:
        root: the folder of the file.
        file: the name of the `.npz` file, or of an `.npy` file that holds `features` alone.
        subset: number of training images to keep; None: all.
        test_fraction: share of each class to hold out without test features, in (0, 1).
        only_class: train on a single class, or on a list of classes, by name or number; None: on all classes.
    """
    if file is None:
        raise UserError("data=features needs a file; give data.file=<name>.npz, or call vje_ppl.fit(features=...).")
    path = Path(root) / file
    given = read_arrays(path, (FEATURES, LABELS, TEST_FEATURES, TEST_LABELS))
    for name in (FEATURES, TEST_FEATURES):
        if name in given:
            given[name] = checked_features(given[name], f"{path} expects {name}", alone=name == TEST_FEATURES)
    widths = {given[name].shape[2] for name in (FEATURES, TEST_FEATURES) if name in given}
    if len(widths) > 1:
        raise UserError(f"{path} expects vectors of one length, got {' and '.join(map(str, sorted(widths)))}.")
    return assembled("features", path, given, FEATURES, TEST_FEATURES, FeatureViews, subset, test_fraction, only_class)


def checked_features(array: np.ndarray, expects: str, alone: bool = False) -> np.ndarray:
    """Return features as float32 of shape (N, V, D).

    Args:
        array: floats, (N, V, D).
        expects: the start of the error, such as "fit expects features".
        alone: whether a single view will do, also without its axis: (N, D).

    Raises:
        UserError: for another type or shape, and for NaN and infinite values.
    """
    if alone and array.ndim == 2:
        array = array[:, None]
    if array.dtype.kind != "f" or array.ndim != 3 or array.shape[1] < 2 - alone or not array.size:
        also = " or (images, features)" if alone else ", with two or more views"
        raise UserError(
            f"{expects} as floats of shape (images, views, features){also}, got {array.dtype} of shape {array.shape}."
        )
    if array.shape[2] < 2:
        raise UserError(f"{expects} of length 2 or more, which have a direction, got vectors of length 1.")
    with np.errstate(over="ignore"):
        found = np.ascontiguousarray(array, dtype=np.float32)
    finite = np.isfinite(found).all((1, 2))
    if not finite.all():
        raise UserError(
            f"{expects} without NaN and infinite values in float32, but {(~finite).sum()} of {len(found)} rows have "
            f"some, row {finite.argmin()} first; leave these rows out."
        )
    return found
