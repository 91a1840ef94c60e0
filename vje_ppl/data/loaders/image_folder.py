"""A user's own images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vje_ppl.data.image_set import ImageData, ImageSet
from vje_ppl.data.loaders.bit_depth import check_bits
from vje_ppl.data.loaders.files import FileOptions, file_options, first_size, open_images
from vje_ppl.data.loaders.labels import UNLABELLED, labelled
from vje_ppl.data.loaders.left_out import say_once
from vje_ppl.data.loaders.scan import FoundImages, find_images
from vje_ppl.data.selection import select_class, stratified_hold_out, subset_indices
from vje_ppl.errors import UserError

TEST_FOLDERS = ("test", "val", "valid", "validation")
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
    only_class: str | int | None = None,
    bits: int | None = None,
) -> ImageData:
    """Finds the images below a folder.

    The folder holds images, or a folder of images per class, or `train` and perhaps `test` (or `val`), each of one of
    these two forms. Without a test folder, labelled images are split; unlabelled ones are all trained on.

    Args:
        root: the folder.
        subset: number of training images to keep; None: all.
        on_error: `raise` or `skip`: what to do about files that cannot be used.
        workers: decoding processes, for images that are not held in memory.
        test_fraction: share of each class to hold out where there is no test folder, in (0, 1).
        image_size: side of the views in pixels; None: the shorter side of the first image, at most 224.
        channels: 1 (grey) or 3 (RGB): what the images are converted to.
        memory_mb: how many megabytes of pixels may be held in memory.
        only_class: train on the images of one class alone, by name or number; None: on all classes.
        bits: the range of values of more than 8 bits, as in `vje_ppl.data.decode.read_image`.
    """
    if root is None:
        raise UserError("data=image_folder needs to know where your images are; give data.root=<folder>.")
    folder = Path(root).absolute()
    if not folder.is_dir():
        raise UserError(f"data=image_folder expects images in the folder {folder}, which does not exist.")
    options = file_options(channels, workers, on_error, memory_mb, bits)
    train, test = _find_splits(folder, test_fraction)
    return image_data(folder.name, train, test, options, subset, image_size, only_class)


def image_data(
    name: str,
    train: FoundImages,
    test: FoundImages | None,
    options: FileOptions,
    subset: int | None,
    image_size: int | None,
    only_class: str | int | None,
) -> ImageData:
    """The data set that images found anywhere make; arguments as in `image_folder`."""
    if image_size is not None and image_size < 1:
        raise UserError(f"data.image_size must be at least 1 pixel, got {image_size}.")
    train = train.select(subset_indices(len(train.paths), subset))
    check_bits(name, train, options)
    train_images = open_images(train, options)
    _check_classes(train, train_images)
    bank = _labelled(name, "training", train_images)
    test_images = None if test is None else open_images(test, options)
    if test_images is not None:
        test_images = _labelled(name, "test", test_images) or test_images
    size = image_size or min(LARGEST_AUTOMATIC_SIZE, *first_size(train, options))
    num_classes = None if train.classes is None else len(train.classes)
    chosen = select_class(train_images, only_class)
    return ImageData(name, chosen, bank, test_images, options.channels, size, num_classes)


def _labelled(name: str, part: str, images: ImageSet) -> ImageSet | None:
    """The images with labels, for k-NN and probes; says how many have none where some have."""
    found = labelled(images)
    if found is not None and len(found) < len(images):
        use = "are learned from without, and k-NN and probes" if part == "training" else "are left out, and evaluations"
        say_once(
            f"{len(images) - len(found)} of the {len(images)} {part} images of {name} have no label (null or -1); "
            f"they {use} use the {len(found)} others"
        )
    return found


def _check_classes(found: FoundImages, opened: ImageSet) -> None:
    """Refuses a class of which every image was skipped; of images that are streamed, none is as yet."""
    if found.labels is None or opened.labels is None or found.classes is None:
        return
    lost = sorted(set(found.labels.tolist()) - set(opened.labels.tolist()) - {UNLABELLED})
    if lost:
        raise UserError(
            f"none of the {int((found.labels == lost[0]).sum())} training images of the class {found.classes[lost[0]]} "
            "can be read; repair them, or remove the class."
        )


def _find_splits(folder: Path, test_fraction: float) -> tuple[FoundImages, FoundImages | None]:
    subfolders = {entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
    # Further folders mean that `train` is a class, of railways say.
    if "train" not in subfolders or not subfolders <= {"train", *TEST_FOLDERS}:
        return hold_out(find_images(folder), test_fraction)
    train = find_images(folder / "train")
    test_folder = next((name for name in TEST_FOLDERS if name in subfolders), None)
    if test_folder is None:
        return hold_out(train, test_fraction)
    return train, align_labels(find_images(folder / test_folder), train, folder / test_folder)


def hold_out(found: FoundImages, test_fraction: float) -> tuple[FoundImages, FoundImages | None]:
    """Training images, and the share of each class that is held out; None of images without labels."""
    if found.labels is None:
        return found, None
    train, test = stratified_hold_out(found.labels, test_fraction)
    return found.select(train), found.select(test) if len(test) else None


def align_labels(test: FoundImages, train: FoundImages, folder: object) -> FoundImages:
    """The test images with labels that index the training classes; unlabelled where either part is."""
    if test.classes is None or test.labels is None or train.classes is None:
        return FoundImages(test.paths, None, None)
    unknown = sorted(set(test.classes) - set(train.classes))
    if unknown:
        raise UserError(f"{folder} holds the class {unknown[0]}, which the training images lack; add or remove it.")
    places = np.array([train.classes.index(name) for name in test.classes], dtype=np.int64)
    return FoundImages(test.paths, np.where(test.labels < 0, UNLABELLED, places[test.labels]), train.classes)
