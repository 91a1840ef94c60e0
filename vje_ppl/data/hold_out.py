"""Test images out of the training set, to choose settings by without looking at the real ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from vje_ppl.data.fingerprint import image_keys
from vje_ppl.data.image_set import ImageData
from vje_ppl.data.selection import hold_out_by_name, stratified_hold_out
from vje_ppl.errors import UserError
from vje_ppl.randomness import Stream


def hold_out(data: ImageData, fraction: Any) -> ImageData:
    """Take a share of the training images of each class in place of the test images.

    Images that have names are chosen by these, each whatever the others are; about the share of each class. Images in
    one array without names are chosen by their places, exactly the share of each class.

    Args:
        data: with labelled training images.
        fraction: the share, a number in (0, 1).

    Returns:
        The data with fewer training images, none of them a test image. They are the same in every run.

    Raises:
        UserError: for a share outside (0, 1), images without labels, or more training images than have labels.
    """
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction < 1:
        raise UserError(f"hold_out expects a share of the training images, from 0 to below 1, got {fraction}.")
    images = data.bank
    if images is None and data.train.labels is not None:
        raise UserError(f"hold_out={fraction} needs training images of several classes, and {data.name} has one alone.")
    if images is None or images.labels is None:
        raise UserError(f"hold_out={fraction} needs labels to split by, and the images of {data.name} have none.")
    if data.train is not images:
        raise UserError(
            f"hold_out={fraction} needs labels for all training images, and not all of {data.name} have one."
        )
    labels, keys = images.labels.numpy(), image_keys(images)
    split = (
        stratified_hold_out(labels, fraction)
        if keys is None
        else hold_out_by_name(labels, keys, fraction, Stream.HOLD_OUT)
    )
    kept, test = (images.select(part) for part in split)
    return replace(data, train=kept, bank=kept, test=test)
