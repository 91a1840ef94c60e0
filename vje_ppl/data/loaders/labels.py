"""Labels of images, as read from columns and files."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped
from torch import Tensor

from vje_ppl.data.image_set import ImageSet
from vje_ppl.data.loaders.left_out import say_once

#: The label of an image that has none.
UNLABELLED = -1


def class_value(value: Any) -> int | str | None:
    """Return the class of a label: a whole number or a text; None for no label.

    None, NaN, −1 and an empty text mean no label. A whole number may be a float, as in tables with gaps.

    Raises:
        ValueError: for an invalid class, such as a list, a fraction or a number below −1.
    """
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        return None if value.strip() in ("", "-1") else value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        if value < UNLABELLED:
            raise ValueError
        return None if value == UNLABELLED else int(value)
    raise ValueError


def label_array(labels: Any) -> Int[np.ndarray, " N"] | Shaped[np.ndarray, " N"]:
    """Return labels as whole numbers, with −1 for none; or, if there are texts, as texts, with an empty one for none.

    Args:
        labels: an array, tensor, list or column of a table, (N,), of labels as `class_value` takes them.

    Raises:
        ValueError: for an invalid class, which the message names, or another shape.
    """
    array = np.asarray(labels.detach().cpu() if isinstance(labels, Tensor) else labels)
    if array.ndim != 1:
        raise ValueError(f"of shape {array.shape}")
    if array.dtype.kind in "iu" and (array.dtype.kind == "u" or array.min(initial=0) >= UNLABELLED):
        return array
    classes = []
    for value in array.tolist():
        plain = value.item() if hasattr(value, "item") else value
        try:
            classes.append(class_value(plain))
        except ValueError:
            raise ValueError(f"of a value {plain!r}") from None
    if any(isinstance(one, str) for one in classes):
        return np.array(["" if one is None else str(one) for one in classes])
    return np.array([UNLABELLED if one is None else one for one in classes], np.int64)


def labelled(images: ImageSet) -> ImageSet | None:
    """Return the images that have a label: all of them as they are, some of them, or None."""
    if images.labels is None:
        return None
    has_label = (images.labels != UNLABELLED).numpy()
    if has_label.all():
        return images
    return images.select(np.flatnonzero(has_label)) if has_label.any() else None


def labelled_part(name: str, part: str, images: ImageSet) -> ImageSet | None:
    """Return the images that have a label, as `labelled` does, and report how many have none if only some have.

    Args:
        name: the data set's.
        part: `training` or `test`.
        images: of this part.
    """
    found = labelled(images)
    if found is not None and len(found) < len(images):
        use = "are learned from without, and k-NN and probes" if part == "training" else "are left out, and evaluations"
        say_once(
            f"{len(images) - len(found)} of the {len(images)} {part} images of {name} have no label (null or -1); "
            f"they {use} use the {len(found)} others"
        )
    return found
