"""A user's own images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vje_ppl.data.hold_out import hold_out_by_name
from vje_ppl.data.image_set import ImageData, ImageSet, shortened
from vje_ppl.data.loaders.files import FileOptions, check_bits, file_options, first_size, open_images
from vje_ppl.data.loaders.labels import UNLABELLED, labelled_part
from vje_ppl.data.loaders.scan import FoundImages, find_images, folders_with_images, images_in
from vje_ppl.data.loaders.splits import find_splits
from vje_ppl.data.selection import ClassChoice, select_class, subset_indices
from vje_ppl.errors import UserError
from vje_ppl.parallel.randomness import Stream

LARGEST_AUTOMATIC_SIZE = 224


def image_folder(
    root: str | None,
    subset: int | None = None,
    on_error: str = "raise",
    workers: int = 2,
    test_fraction: float = 0.1,
    image_size: int | None = None,
    channels: int = 3,
    memory_mb: float = 512.0,
    only_class: ClassChoice = None,
    bits: int | None = None,
) -> ImageData:
    """Find the images below a folder.

    The folder holds images, or a folder of images per class, or `train` and perhaps `test` (or `val`) folders of either
    form, also spelled as `Training`, `test_set` and so on. If there are both `test` and `val`, `test` is used, unless
    only `val` has labels. Without a test folder, labelled images are split by their names, so that adding images moves
    none to the other side; unlabelled images are all used for training. If `train` holds a single folder, and `test` a
    folder of the same name beside others, as in data sets for inspection, the test images of the others are anomalies.

    Args:
        root: the folder.
        subset: number of training images to keep; None: all.
        on_error: `raise` or `skip`: what to do with unusable files.
        workers: decoding processes, for images that are not held in memory.
        test_fraction: share of each class to hold out without a test folder, in (0, 1).
        image_size: side of the views in pixels; None: the shorter side of the first image, at most 224.
        channels: 1 (grey) or 3 (RGB), to which the images are converted.
        memory_mb: most megabytes of pixels to hold in memory.
        only_class: train on a single class, or on a list of classes, by name or number; None: on all classes.
        bits: the range of values of more than 8 bits, as in `vje_ppl.data.decode.read_image`.
    """
    if root is None:
        raise UserError("data=image_folder needs the folder of your images; give data.root=<folder>.")
    folder = Path(root).absolute()
    if not folder.is_dir():
        raise UserError(f"data=image_folder expects images in the folder {folder}, which does not exist.")
    options = file_options(channels, workers, on_error, memory_mb, bits)
    train, test, notes = _find_splits(folder, test_fraction)
    return image_data(folder.name, train, test, options, subset, image_size, only_class, notes)


def image_data(
    name: str,
    train: FoundImages,
    test: FoundImages | None,
    options: FileOptions,
    subset: int | None,
    image_size: int | None,
    only_class: ClassChoice,
    notes: Sequence[str] = (),
) -> ImageData:
    """Return a data set of the images that were found; arguments as in `image_folder`."""
    if image_size is not None and image_size < 1:
        raise UserError(f"data.image_size must be at least 1 pixel, got {image_size}.")
    train = train.select(subset_indices(len(train.paths), subset))
    check_bits(name, train, options)
    train_images = open_images(train, options)
    _check_classes(train, train_images)
    bank = labelled_part(name, "training", train_images)
    test_images = None if test is None else open_images(test, options)
    if test_images is not None:
        test_images = labelled_part(name, "test", test_images) or test_images
    size = image_size or min(LARGEST_AUTOMATIC_SIZE, *first_size(train, options))
    num_classes = None if train.classes is None else len(train.classes)
    if bank is not None and bank.labels is not None and len(bank.labels.unique()) == 1:
        bank = None  # k-NN needs several classes
    chosen = select_class(train_images, only_class)
    said = (*notes, *_without_test_images(train, test))
    return ImageData(name, chosen, bank, test_images, options.channels, size, num_classes, said)


def _find_splits(folder: Path, test_fraction: float) -> tuple[FoundImages, FoundImages | None, list[str]]:
    splits = find_splits(folder, folders_with_images(folder))
    if splits is None:
        return *hold_out(find_images(folder), test_fraction), []
    train = find_images(splits.train)
    candidates = ((one.name, find_images(one), str(one)) for one in splits.tests)
    train, test, name = first_labelled(train, candidates)
    beside = [one for one in (*(one.name for one in splits.tests), *splits.beside) if one != name]
    loose = images_in(folder)
    beside += [f"{len(loose)} images outside of folders, {Path(loose[0]).name} first"] if loose else []
    rest = f"; not used: {', '.join(beside)}" if beside else ""
    if test is None:
        train, test = hold_out(train, test_fraction)
        kept = "nothing" if test is None else "a share of it"
        return train, test, [f"trains on {splits.train.name} and holds out {kept} for testing{rest}"]
    notes = [f"learns from {splits.train.name} and tests on {name}{rest}"]
    if train.labels is None and len(folders_with_images(folder / str(name))) > 1:
        notes.append(f"the folders in {name} are no labels, because {splits.train.name} has none for these classes")
    return train, test, notes


def first_labelled(
    train: FoundImages, candidates: Iterable[tuple[str, FoundImages, str]]
) -> tuple[FoundImages, FoundImages | None, str | None]:
    """Choose, among several sets of test images, the first with labels, or else the first; align its labels.

    Returns:
        The training images, the test images with labels that index the same classes, and their name; None and None
        where there are no candidates.
    """
    first = None
    for name, found, place in candidates:
        labelled = anomalies(train, found) or train
        one = labelled, align_labels(found, labelled, place), name
        if one[1].labels is not None:
            return one
        first = first or one
    return first or (train, None, None)


def _check_classes(found: FoundImages, opened: ImageSet) -> None:
    """Refuse a class whose images were all skipped; streamed images have not been read yet."""
    if found.labels is None or opened.labels is None or found.classes is None:
        return
    lost = sorted(set(found.labels.tolist()) - set(opened.labels.tolist()) - {UNLABELLED})
    if lost:
        raise UserError(
            f"none of the {int((found.labels == lost[0]).sum())} training images of the class {found.classes[lost[0]]} "
            "can be read; repair them, or remove the class."
        )


def hold_out(found: FoundImages, test_fraction: float) -> tuple[FoundImages, FoundImages | None]:
    """Split off about a share of each class; return training and held-out images, None if there are no labels."""
    if found.labels is None:
        return found, None
    train, test = hold_out_by_name(found.labels, found.keys, test_fraction, Stream.TEST_SPLIT)
    return found.select(train), found.select(test) if len(test) else None


def anomalies(train: FoundImages, test: FoundImages) -> FoundImages | None:
    """Label training images of a single class by the classes of the test images; None if that does not apply.

    Data sets for inspection have this form: `train/good`, `test/good`, `test/broken`.
    """
    name = train.classes[0] if train.classes is not None and len(train.classes) == 1 else train.only_folder
    if name is None or test.classes is None or name not in test.classes or len(test.classes) == 1:
        return None
    labels = np.full(len(train.paths), test.classes.index(name), dtype=np.int64)
    return replace(train, labels=labels, classes=test.classes)


def align_labels(test: FoundImages, train: FoundImages, place: str) -> FoundImages:
    """Return the test images with labels that index the training classes; unlabelled where either part is."""
    if train.classes is not None and test.only_folder in train.classes:  # a single folder, which is one of the classes
        labels = np.full(len(test.paths), train.classes.index(str(test.only_folder)), dtype=np.int64)
        return replace(test, labels=labels, classes=train.classes)
    if test.classes is None or test.labels is None or train.classes is None:
        return replace(test, labels=None, classes=None)
    unknown = sorted(set(test.classes) - set(train.classes))
    if unknown:
        raise UserError(f"{place} holds the class {unknown[0]}, which the training images lack; add or remove it.")
    places = np.array([train.classes.index(name) for name in test.classes], dtype=np.int64)
    return replace(test, labels=np.where(test.labels < 0, UNLABELLED, places[test.labels]), classes=train.classes)


def _without_test_images(train: FoundImages, test: FoundImages | None) -> list[str]:
    """Return a sentence about classes that have training images but no test images."""
    if train.labels is None or train.classes is None or test is None or test.labels is None:
        return []
    lacking = [train.classes[label] for label in np.setdiff1d(train.labels, [UNLABELLED, *test.labels])]
    return [f"{len(lacking)} of the classes without test images: {shortened(lacking)}"] if lacking else []
