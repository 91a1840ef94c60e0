"""Images and labels of a torch data set that a program gives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset

from vje_ppl.errors import UserError
from vje_ppl.runs.trained_run import as_tensor

#: Images that are read twice, to see whether they change.
_READ_TWICE = 16

#: What Pillow calls the types of pixels of more than 8 bits, which it would clip at 255.
_WIDE = ("I", "F")


def images_of(dataset: Any, labels: Any) -> tuple[Tensor, list[Any] | None]:
    """Return the images of a torch data set in one tensor, and its labels, or None.

    Args:
        dataset: a data set with a length, whose items are an image, or an image and its label.
        labels: None; a data set has its own.

    Raises:
        UserError: for other items, images of several sizes or of more than 8 bits, and images that change from one
            reading to the next.
    """
    if labels is not None:
        raise UserError("fit takes the labels of a torch data set from its items; leave out labels.")
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        raise UserError(
            f"fit expects a torch data set with a length, got {type(dataset).__name__}; give one whose items have "
            "numbers, or save the images as files and use data=image_folder."
        )
    count = len(dataset)
    if not count:
        raise UserError("fit expects at least one image, got a data set of none.")
    pairs = [_pair(dataset[number]) for number in range(count)]
    images = stacked(image for image, _ in pairs)
    for number in range(min(_READ_TWICE, count)):
        if not torch.equal(_pixels(_pair(dataset[number])[0]), images[number]):
            raise UserError(
                "fit expects the same image each time that a data set is asked for it, but these change, as with "
                "random transforms; leave them out: augment=... makes the views."
            )
    found = [_plain(label) for _, label in pairs]
    return images, None if all(one is None for one in found) else found


def stacked(images: Iterable[Any]) -> Tensor:
    """Return images in one tensor, (N, C, H, W).

    Args:
        images: tensors or arrays of shape (C, H, W) or (H, W), or Pillow's images.

    Raises:
        UserError: for images of several sizes, of more than 8 bits, or of another type.
    """
    pixels = [_pixels(one) for one in images]
    shapes = {tuple(one.shape) for one in pixels}
    if len(shapes) != 1:
        raise UserError(
            f"fit expects images of one size, got {len(shapes)} sizes; resize them, or save them as files and use "
            "data=image_folder."
        )
    return torch.stack(pixels)


def _pair(item: Any) -> tuple[Any, Any]:
    """Return the image and the label of an item; the label is None if there is none."""
    if not isinstance(item, tuple | list):
        return item, None
    return item[0], item[1] if len(item) > 1 else None


def _pixels(image: Any) -> Tensor:
    if isinstance(image, Image.Image):
        if image.mode.startswith(_WIDE):
            raise UserError(
                f"fit expects Pillow's images to have 8 bits, got one of mode {image.mode}; convert it to floats in "
                "[0, 1], or save the images as files and use data=image_folder."
            )
        array = np.array(image if image.mode in ("L", "RGB") else image.convert("RGB"))
        return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())
    if not isinstance(image, Tensor | np.ndarray):
        raise UserError(
            f"fit expects items that are an image, or an image and its label, got {type(image).__name__} in place of "
            "an image; give each image once: augment=... makes the views."
        )
    tensor = as_tensor(image)
    return tensor.unsqueeze(0) if tensor.dim() == 2 else tensor


def _plain(label: Any) -> Any:
    """Return a label as a number or a text; None if there is none."""
    if isinstance(label, Tensor | np.ndarray) and label.ndim:
        raise UserError(
            f"fit expects one label per image, got one of shape {tuple(label.shape)} in a data set; give items that "
            "are an image, or an image and its class."
        )
    return label.item() if hasattr(label, "item") else label
