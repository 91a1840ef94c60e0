"""Fixed choices among images: the same on every machine and for every seed of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Int64

from vje_ppl.data.image_set import ImageData, ImageSet, InMemoryImages
from vje_ppl.errors import UserError, did_you_mean
from vje_ppl.parallel.randomness import Stream, keyed_generator

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
