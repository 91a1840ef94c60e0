"""Splits of the training images, to test or to calibrate on: the same on every machine and for every seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt64

from vje_ppl.data.fingerprint import image_keys
from vje_ppl.data.image_set import ImageData, ImageSet
from vje_ppl.errors import UserError
from vje_ppl.parallel.randomness import Stream, keyed_generator


def hold_out_by_name(
    labels: Int64[np.ndarray, " N"], keys: UInt64[np.ndarray, " N"], fraction: float, stream: Stream
) -> tuple[Int64[np.ndarray, " T"], Int64[np.ndarray, " H"]]:
    """Split images by their names, so that adding images moves no image to the other side.

    A class of at least two images keeps at least one on either side. No image without a label is held out.

    Args:
        labels: class indices, [N], −1 for none.
        keys: a hash of each image's name, [N].
        fraction: share to hold out, in (0, 1).
        stream: purpose of the split; splits for different purposes are independent.

    Returns:
        Indices to train on and indices held out, both increasing.
    """
    _check_fraction(fraction)
    order = _spread(keys ^ keyed_generator(stream).integers(2**64, dtype=np.uint64)) / 2.0**64
    held_out = (order < fraction) & (labels >= 0)
    for label in np.unique(labels[labels >= 0]):
        members = np.flatnonzero(labels == label)
        if len(members) > 1 and not held_out[members].any():
            held_out[members[order[members].argmin()]] = True
        elif len(members) == 1 or held_out[members].all():
            held_out[members[order[members].argmax()]] = False
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def stratified_hold_out(
    labels: Int64[np.ndarray, " N"], fraction: float
) -> tuple[Int64[np.ndarray, " T"], Int64[np.ndarray, " H"]]:
    """Split images so that each class gives the same share, rounded, to the held-out part.

    Every class of at least two images keeps one or more on either side, so small classes give more than their share. No
    image without a label is held out.

    Args:
        labels: class indices, [N], −1 for none.
        fraction: share to hold out, in (0, 1).

    Returns:
        Indices to train on and indices held out, both increasing.
    """
    _check_fraction(fraction)
    rng = keyed_generator(Stream.HOLD_OUT)
    return _hold_out_of_each(labels, fraction, lambda _: rng)


def _hold_out_of_each(
    labels: Int64[np.ndarray, " N"], fraction: float, generator: Callable[[int], np.random.Generator]
) -> tuple[Int64[np.ndarray, " T"], Int64[np.ndarray, " H"]]:
    """Split images as `stratified_hold_out` does, with the generator of each class."""
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels[labels >= 0]):
        members = np.flatnonzero(labels == label)
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        held_out[generator(int(label)).permutation(members)[:count]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _spread(bits: UInt64[np.ndarray, " N"]) -> UInt64[np.ndarray, " N"]:
    """Make every bit depend on all others: the last steps of SplitMix64 (Steele, Lea and Flood, 2014)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise UserError(f"data.test_fraction must lie between 0 and 1, got {fraction}.")


def keep_for_calibration(data: ImageData, fraction: Any) -> ImageData:
    """Take a share of the training images of each class out of training, to calibrate scores.

    Images with names are chosen by name, and images in an array without names by place, as by `hold_out`. The choice
    within a class depends on the images of this class alone. Each class of at least two images gives one or more, so
    small classes give more than their share. Images without a label count as a class of their own, and so do images of
    a set without labels. The bank loses the images too, unless it is a set of its own, as in STL-10.

    Args:
        data: a data set.
        fraction: the share, a number in (0, 1).

    Returns:
        The data with fewer training images, and the others as `calibration`, the same in every run.

    Raises:
        UserError: for a share outside (0, 1), or if no class has two training images.
    """
    _check_share("calibration", fraction)
    train, bank = data.train, data.bank
    labels, keys = _as_classes(train), image_keys(train)
    if keys is None:
        kept, taken = _hold_out_of_each(labels, fraction, lambda label: keyed_generator(Stream.CALIBRATION, label))
    else:
        kept, taken = hold_out_by_name(labels, keys, fraction, Stream.CALIBRATION)
    if not len(taken):
        raise UserError(
            f"calibration={fraction} keeps an image of each class of at least two training images, but {data.name} has "
            f"no such class among its {len(train)} training images; add images, or give calibration=0."
        )
    learned = train.select(kept)
    if bank is train:
        bank = learned
    elif bank is not None and train.labels is not None and len(bank) == int((train.labels >= 0).sum()):
        bank = train.select(kept[(train.labels >= 0).numpy()[kept]])
    return replace(data, train=learned, bank=bank, calibration=train.select(taken))


def _as_classes(images: ImageSet) -> Int64[np.ndarray, " N"]:
    """Return class indices in which images without a label are a class of their own, after the others."""
    if images.labels is None:
        return np.zeros(len(images), dtype=np.int64)
    labels = images.labels.numpy()
    return np.where(labels < 0, labels.max() + 1, labels)


def _check_share(key: str, fraction: Any) -> None:
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction < 1:
        raise UserError(f"{key} expects a share of the training images, from 0 to below 1, got {fraction}.")


def hold_out(data: ImageData, fraction: Any) -> ImageData:
    """Take a share of the training images of each class in place of the test images.

    Images with names are chosen by name, independently of each other: about the share of each class. Images in an array
    without names are chosen by place: exactly the share of each class.

    Args:
        data: with labelled training images.
        fraction: the share, a number in (0, 1).

    Returns:
        The data with fewer training images, none of them a test image, the same in every run.

    Raises:
        UserError: for a share outside (0, 1), images without labels, or more training images than have labels.
    """
    _check_share("hold_out", fraction)
    images = data.bank
    if images is None and data.train.labels is not None:
        raise UserError(f"hold_out={fraction} needs training images of several classes, but {data.name} has only one.")
    if images is None or images.labels is None:
        raise UserError(f"hold_out={fraction} needs labels to split by, but the images of {data.name} have none.")
    if data.train is not images:
        raise UserError(
            f"hold_out={fraction} needs labels for all training images, but some images of {data.name} have none."
        )
    labels, keys = images.labels.numpy(), image_keys(images)
    split = (
        stratified_hold_out(labels, fraction)
        if keys is None
        else hold_out_by_name(labels, keys, fraction, Stream.HOLD_OUT)
    )
    kept, test = (images.select(part) for part in split)
    return replace(data, train=kept, bank=kept, test=test)
