"""Fixed choices among images: the same on every machine and for every seed of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, UInt64

from vje_ppl.data.fingerprint import image_keys
from vje_ppl.data.image_set import ImageData, ImageSet, InMemoryImages
from vje_ppl.errors import UserError, did_you_mean
from vje_ppl.randomness import Stream, keyed_generator

#: A class by name or number, a list of classes, or None for all classes.
ClassChoice = str | int | Sequence[str | int] | None


def subset_indices(total: int, count: int | None) -> Int64[np.ndarray, " M"]:
    """Choose `count` of `total` images at random, in increasing order; None: all.

    A larger subset contains every smaller one.

    Raises:
        UserError: if `count` is not between 1 and `total`.
    """
    if count is None:
        return np.arange(total)
    if not 1 <= count <= total:
        raise UserError(f"data.subset expects 1 to {total}, the number of training images, got {count}.")
    return np.sort(keyed_generator(Stream.SUBSET).permutation(total)[:count])


def at_most(images: ImageSet, most: int | None) -> ImageSet:
    """Keep at most `most` images, chosen at random, the same in every run; None: all."""
    if most is None or len(images) <= most:
        return images
    return images.select(np.sort(np.random.default_rng(0).choice(len(images), most, replace=False)))


def fixed_subset(images: InMemoryImages, count: int | None) -> InMemoryImages:
    """Choose `count` of the images, as `subset_indices` does; None: all."""
    return images if count is None else images.select(subset_indices(len(images), count))


def class_index(classes: Sequence[str], wanted: str | int, key: str = "data.only_class") -> int:
    """Find a class by its name or, where no class has such a name, by its number.

    Args:
        classes: the names that labels index.
        wanted: a name, or a number from 0.
        key: its name in the error.

    Raises:
        UserError: if there is no such class.
    """
    text = str(wanted)
    if text in classes:
        return classes.index(text)
    if text.isdecimal() and int(text) < len(classes):
        return int(text)
    hint = did_you_mean(text, classes) or f"they are {', '.join(classes[:10])}{', …' * (len(classes) > 10)}."
    raise UserError(
        f"{key} expects one of the {len(classes)} classes, by name or by number from 0 to {len(classes) - 1}, got "
        f"{text}; {hint}"
    )


def class_list(wanted: ClassChoice) -> list[str | int]:
    """Return a choice of classes as a list, empty for None."""
    if wanted is None:
        return []
    return [wanted] if isinstance(wanted, str | int) else list(wanted)


def select_class(images: ImageSet, wanted: ClassChoice) -> ImageSet:
    """Keep the images of a class or a list of classes; None or an empty list: all of them.

    Raises:
        UserError: if the images are unlabelled, or none of them is of these classes.
    """
    classes = class_list(wanted)
    if not classes:
        return images
    option = f"data.only_class={wanted if isinstance(wanted, str | int) else shown(classes)}"
    is_member = _is_of(images, classes, option)
    if not is_member.any():
        raise UserError(
            f"{option} leaves none of the {len(images)} training images; choose another class, or a larger data.subset."
        )
    return images.select(np.flatnonzero(is_member))


def shown(classes: Sequence[str | int]) -> str:
    """Return a list of classes as typed."""
    return f"[{','.join(map(str, classes))}]"


def of_class(data: ImageData, wanted: ClassChoice) -> ImageData:
    """Keep the training and calibration images of a class or a list of classes; None: all of them.

    Raises:
        UserError: if the training images are unlabelled, or one of the two parts has no image of this class.
    """
    calibration, classes = data.calibration, class_list(wanted)
    train = select_class(data.train, wanted)
    if classes and calibration is not None:
        members = np.flatnonzero(_is_of(calibration, classes, f"data.only_class={wanted}"))
        if not len(members):
            named = ", ".join(map(str, classes))
            raise UserError(
                f"calibration keeps no image of class {named}, which has a single training image; add images, or give "
                "calibration=0."
            )
        calibration = calibration.select(members)
    return replace(data, train=train, calibration=calibration)


def only_classes(images: ImageSet, wanted: Sequence[str | int]) -> ImageSet:
    """Keep the images of the classes that `without_class` names.

    Raises:
        UserError: if images have no labels, a class is unknown, or no image is left.
    """
    return _kept(images, wanted, inside=True)


def without_classes(data: ImageData, wanted: Sequence[str | int]) -> ImageData:
    """Leave the images of some classes out of the training, bank and test images; labels stay what they are.

    Args:
        data: a labelled data set.
        wanted: classes by name or number.

    Raises:
        UserError: if images have no labels, a class is unknown, or no image is left.
    """
    if not wanted:
        return data
    # The bank may be the training images themselves, which are selected once.
    parts = {id(part): part for part in (data.train, data.bank, data.test, data.calibration) if part is not None}
    kept = {number: _kept(part, wanted, inside=False) for number, part in parts.items()}
    return replace(
        data,
        train=kept[id(data.train)],
        bank=kept.get(id(data.bank)),
        test=kept.get(id(data.test)),
        calibration=kept.get(id(data.calibration)),
        notes=(*data.notes, f"leaves out the images of {', '.join(map(str, wanted))}"),
    )


def _kept(images: ImageSet, wanted: Sequence[str | int], inside: bool) -> ImageSet:
    option = f"without_class={shown(wanted)}"
    members = np.flatnonzero(_is_of(images, wanted, option) == inside)
    if len(members) == 0:
        raise UserError(f"{option} leaves none of the {len(images)} images; name other classes.")
    return images.select(members)


def _is_of(images: ImageSet, wanted: Sequence[str | int], option: str) -> Bool[np.ndarray, " N"]:
    """Return whether each image is of one of some classes; errors name the option."""
    if images.labels is None or images.classes is None:
        raise UserError(f"{option} needs labelled images, but these have no labels.")
    key = option.partition("=")[0]
    return np.isin(images.labels.numpy(), [class_index(images.classes, one, key) for one in wanted])


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
    """Split images so that each class gives the same share to the held-out part.

    Every class of at least two images keeps one or more on either side. No image without a label is held out.

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
    within a class depends on the images of this class alone. Images without a label count as a class of their own, and
    so do images of a set without labels. The bank loses the images too, unless it is a set of its own, as in STL-10.

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
