"""Labels of images, as read from columns and files."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vje_ppl.data.image_set import ImageSet

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


def labelled(images: ImageSet) -> ImageSet | None:
    """Return the images that have a label: all of them as they are, some of them, or None."""
    if images.labels is None:
        return None
    has_label = (images.labels != UNLABELLED).numpy()
    if has_label.all():
        return images
    return images.select(np.flatnonzero(has_label)) if has_label.any() else None
