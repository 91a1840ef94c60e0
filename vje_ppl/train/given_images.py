"""Images that a program gives as arrays, tensors or a torch data set, stored for a run and for the commands on it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from vje_ppl.data.loaders.arrays import IMAGES, LABELS, TEST_IMAGES, TEST_LABELS
from vje_ppl.data.loaders.features import FEATURES, TEST_FEATURES, checked_features
from vje_ppl.data.loaders.labels import label_array
from vje_ppl.errors import UserError
from vje_ppl.runs.files import write_atomically
from vje_ppl.runs.trained_run import as_tensor, image_bytes
from vje_ppl.train.given_dataset import images_of, stacked

#: The folder of these files, below the folder of all runs.
FOLDER = "arrays"


def as_arrays(images: Any, labels: Any, test_images: Any, test_labels: Any) -> dict[str, np.ndarray]:
    """Return images and labels as arrays by the names that `data=arrays` reads.

    Args:
        images: training images; see `vje_ppl.fit`.
        labels: a label per training image, or None; not for a torch data set, which has its own.
        test_images: test images, or None.
        test_labels: a label per test image, or None.

    Raises:
        UserError: for another shape or range, images of several sizes, or another number of labels.
    """
    if isinstance(images, Dataset):
        images, labels = images_of(images, labels)
    if isinstance(test_images, Dataset):
        test_images, test_labels = images_of(test_images, test_labels)
    found = _with_labels(IMAGES, LABELS, images, labels, _image_array)
    return found | _with_labels(TEST_IMAGES, TEST_LABELS, test_images, test_labels, _image_array)


def as_feature_arrays(features: Any, labels: Any, test_features: Any, test_labels: Any) -> dict[str, np.ndarray]:
    """Return feature vectors and labels as arrays by the names that `data=features` reads.

    Args:
        features: see `vje_ppl.fit`.
        labels: a label per image, or None.
        test_features: as `features`, or None.
        test_labels: a label per test image, or None.

    Raises:
        UserError: for another shape or type, NaN or infinite values, or another number of labels.
    """
    found = _with_labels(FEATURES, LABELS, features, labels, _feature_array)
    return found | _with_labels(TEST_FEATURES, TEST_LABELS, test_features, test_labels, _feature_array)


def _with_labels(
    name: str, label_name: str, given: Any, labels: Any, as_array: Callable[[str, Any], np.ndarray]
) -> dict[str, np.ndarray]:
    """Return what was given as an array, and its labels, by their names; nothing if nothing was given."""
    if given is None:
        if labels is not None:
            raise UserError(f"fit got {label_name} without {name}; give both.")
        return {}
    found = {name: as_array(name, given)}
    if labels is not None:
        count = len(found[name])
        try:
            found[label_name] = label_array(labels)
        except ValueError as error:
            raise UserError(
                f"fit expects one label per image, ({count},), whole numbers with -1 for none, or texts, got "
                f"{label_name} {error}."
            ) from None
        if len(found[label_name]) != count:
            shape = found[label_name].shape
            raise UserError(f"fit expects one label per image, ({count},), got {label_name} of shape {shape}.")
    return found


def _image_array(name: str, given: Any) -> np.ndarray:
    try:
        pixels = image_bytes(_with_channels(given), "fit")
    except (ValueError, TypeError) as error:
        raise UserError(str(error)) from error
    if pixels.shape[1] not in (1, 3):
        raise UserError(f"fit expects images of 1 or 3 channels, (N, C, H, W), got shape {tuple(pixels.shape)}.")
    return pixels.cpu().numpy()


def _feature_array(name: str, given: Any) -> np.ndarray:
    array = given.detach().cpu().float().numpy() if isinstance(given, Tensor) else np.asarray(given)
    return checked_features(array, f"fit expects {name}", alone=name == TEST_FEATURES)


def store(arrays: dict[str, np.ndarray], root: Path) -> str:
    """Write arrays to a file named by their content, unless it is there, and return its name.

    Raises:
        UserError: if it cannot be written.
    """
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes() if array.dtype.kind in "OUS" else memoryview(array).cast("B"))
    path = root / FOLDER / f"{digest.hexdigest()[:16]}.npz"
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{path.parent} cannot be used: {error.strerror}; set run.root to another folder."
            ) from error
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        write_atomically(path, buffer.getbuffer())
    return path.name


def grey_statistics(pixels: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation of bytes on the scale of 0 to 1, to four digits."""
    counts = np.bincount(pixels.reshape(-1), minlength=256) / pixels.size
    values = np.arange(256) / 255
    mean = float((counts * values).sum())
    return round(mean, 4), max(1e-4, round(float((counts * (values - mean) ** 2).sum()) ** 0.5, 4))


def _with_channels(images: Any) -> Tensor:
    if isinstance(images, list | tuple) and images and isinstance(images[0], Tensor | np.ndarray | Image.Image):
        images = stacked(images)
    tensor = as_tensor(images)
    if tensor.dim() not in (3, 4):
        raise ValueError(f"fit expects images of shape (N, C, H, W) or (N, H, W), got {tuple(tensor.shape)}.")
    if not len(tensor):
        raise ValueError("fit expects at least one image, got none.")
    return tensor.unsqueeze(1) if tensor.dim() == 3 else tensor
