"""ImageNet in the folders of ILSVRC 2012: `train` and `val`, each with a folder per class."""

from __future__ import annotations

from pathlib import Path

from vje_ppl.data.image_set import ImageData
from vje_ppl.data.loaders.files import file_options, stream_images
from vje_ppl.data.loaders.scan import FoundImages, find_images
from vje_ppl.data.selection import ClassChoice, select_class, subset_indices
from vje_ppl.errors import UserError


def imagenet(
    root: str,
    subset: int | None = None,
    on_error: str = "raise",
    workers: int = 2,
    image_size: int = 224,
    only_class: ClassChoice = None,
) -> ImageData:
    """Find ImageNet's files, which workers decode as they are needed.

    Args:
        root: the folder that holds `train` and `val`.
        subset: number of training images to keep; None: all.
        on_error: `raise` or `skip`: what to do with unusable files.
        workers: decoding processes.
        image_size: side of the views in pixels.
        only_class: train on a single class, or on a list of classes, by name or number; None: on all classes.
    """
    options = file_options(3, workers, on_error, 0.0)
    train, test = (_find_split((Path(root) / split).absolute()) for split in ("train", "val"))
    if train.classes != test.classes:
        raise UserError(
            f"train and val of {Path(root).absolute()} must hold folders of the same names, one per class, but "
            f"{sorted(set(train.classes or ()) ^ set(test.classes or ()))[0]} is in only one of them."
        )
    train_images = stream_images(train.select(subset_indices(len(train.paths), subset)), options)
    test_images = stream_images(test, options)
    chosen = select_class(train_images, only_class)
    return ImageData("imagenet", chosen, train_images, test_images, 3, image_size, len(train.classes or ()))


def _find_split(folder: Path) -> FoundImages:
    found = find_images(folder) if folder.is_dir() else None
    if found is None or found.classes is None:
        raise UserError(
            f"data=imagenet expects a folder per class in {folder}; register at image-net.org, download the archives "
            "of ILSVRC 2012 and unpack them under data.root as train/n01440764/*.JPEG and val/n01440764/*.JPEG."
        )
    return found
