"""DTD, the Describable Textures Dataset: 5,640 photographs of 47 textures, of 300 to 640 pixels."""

from __future__ import annotations

from pathlib import Path

from vje_ppl.data.image_set import ImageData
from vje_ppl.data.loaders.download import read_or_download
from vje_ppl.data.loaders.files import file_options
from vje_ppl.data.loaders.image_folder import image_data
from vje_ppl.data.loaders.scan import FoundImages, listed_images
from vje_ppl.data.selection import ClassChoice


def dtd(
    root: str,
    download: bool = False,
    subset: int | None = None,
    workers: int = 2,
    image_size: int = 224,
    only_class: ClassChoice = None,
) -> ImageData:
    """Find DTD's files: its training and validation images to train on, and its test images; its first partition.

    Args:
        root: the folder that holds `dtd/dtd/images` and `dtd/dtd/labels`.
        download: whether to download it first.
        subset: number of training images to keep; None: all.
        workers: decoding processes.
        image_size: side of the views in pixels.
        only_class: train on a single class, or on a list of classes, by name or number; None: on all classes.

    Source: Cimpoi et al., "Describing Textures in the Wild", CVPR 2014.
    """
    from torchvision.datasets import DTD

    def read(download: bool) -> tuple[FoundImages, FoundImages]:
        train, val, test = (DTD(root, split=split, download=download) for split in ("train", "val", "test"))
        folder = Path(root) / "dtd/dtd/images"
        return (
            listed_images(
                [*train._image_files, *val._image_files], [*train._labels, *val._labels], train.classes, folder
            ),
            listed_images(test._image_files, test._labels, test.classes, folder),
        )

    train, test = read_or_download(read, name="dtd", root=Path(root), folder="dtd", download=download)
    options = file_options(3, workers, "raise", 0.0)
    return image_data("dtd", train, test, options, subset, image_size, only_class)
