"""Tiny ImageNet: 100,000 training and 10,000 validation images of 200 classes, 64×64 pixels."""

from __future__ import annotations

from pathlib import Path

from vje_ppl.data.image_set import ImageData
from vje_ppl.data.loaders.files import file_options
from vje_ppl.data.loaders.image_folder import image_data
from vje_ppl.data.loaders.scan import find_images, listed_images
from vje_ppl.data.selection import ClassChoice
from vje_ppl.errors import UserError


def tiny_imagenet(
    root: str,
    subset: int | None = None,
    on_error: str = "raise",
    workers: int = 2,
    image_size: int = 64,
    memory_mb: float = 2048.0,
    only_class: ClassChoice = None,
) -> ImageData:
    """Find the files of Tiny ImageNet as its archive holds them, and test on its validation images.

    Args:
        root: the folder `tiny-imagenet-200` of the archive http://cs231n.stanford.edu/tiny-imagenet-200.zip.
        subset: number of training images to keep; None: all.
        on_error: `raise` or `skip`: what to do with unusable files.
        workers: decoding processes.
        image_size: side of the views in pixels.
        memory_mb: megabytes; images that fit are decoded once, at the start (1.4 GB for all).
        only_class: train on a single class, or on a list of classes, by name or number; None: on all classes.

    Source: Le and Yang, "Tiny ImageNet Visual Recognition Challenge", 2015.
    """
    folder = Path(root)
    table = folder / "val" / "val_annotations.txt"
    if not (folder / "train").is_dir() or not table.is_file():
        raise UserError(
            f"data=tiny_imagenet expects train/<class>/images/*.JPEG and val/val_annotations.txt in "
            f"{folder.absolute()}; unpack http://cs231n.stanford.edu/tiny-imagenet-200.zip and give its folder as "
            "data.root."
        )
    train = find_images(folder / "train")
    classes = train.classes or ()
    rows = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines() if line.strip()]
    unknown = next((row for row in rows if len(row) < 2 or row[1] not in classes), None)
    if unknown is not None:
        raise UserError(f"{table} expects lines of a file and one of the classes in train, got {' '.join(unknown)}.")
    number = {name: index for index, name in enumerate(classes)}
    images = folder / "val" / "images"
    test = listed_images([images / row[0] for row in rows], [number[row[1]] for row in rows], classes, images)
    options = file_options(3, workers, on_error, memory_mb)
    return image_data("tiny_imagenet", train, test, options, subset, image_size, only_class)
