"""Places365: photographs of 365 kinds of scenes, whose shorter side has 256 pixels."""

from __future__ import annotations

from pathlib import Path

from vje_ppl.data.image_set import ImageData
from vje_ppl.data.loaders.download import read_or_download
from vje_ppl.data.loaders.files import file_options
from vje_ppl.data.loaders.image_folder import image_data
from vje_ppl.data.loaders.scan import FoundImages, listed_images
from vje_ppl.data.selection import ClassChoice
from vje_ppl.errors import UserError

SPLITS = ("val", "train-standard")


def places365(
    root: str,
    download: bool = False,
    split: str = "val",
    subset: int | None = None,
    workers: int = 2,
    image_size: int = 224,
    only_class: ClassChoice = None,
) -> ImageData:
    """Find the files of Places365, in the version with 256×256 pixels.

    Args:
        root: the folder that holds `places365/val_256` and the lists of files beside it.
        download: whether to download it first: 0.5 GB for `val`, 24 GB more for `train-standard`.
        split: `val` gives the 36,500 validation images alone, without test images, as other images for `eval=ood`;
            `train-standard` gives the 1.8 million training images, tested on the validation images.
        subset: number of training images to keep; None: all.
        workers: decoding processes.
        image_size: side of the views in pixels.
        only_class: train on a single class, or on a list of classes, by name or number; None: on all classes.

    Source: Zhou et al., "Places: A 10 Million Image Database for Scene Recognition", TPAMI 2017.
    """
    if split not in SPLITS:
        raise UserError(f"data.split must be one of {', '.join(SPLITS)}, got {split}.")
    from torchvision.datasets import Places365

    folder = Path(root) / "places365"

    def read(download: bool) -> list[FoundImages]:
        folder.mkdir(parents=True, exist_ok=True)
        parts = [
            Places365(str(folder), split=part, small=True, download=download) for part in dict.fromkeys((split, "val"))
        ]
        return [listed_images([path for path, _ in one.imgs], one.targets, one.classes, folder) for one in parts]

    train, *rest = read_or_download(read, name="places365", root=Path(root), folder="places365", download=download)
    options = file_options(3, workers, "raise", 0.0)
    return image_data("places365", train, rest[0] if rest else None, options, subset, image_size, only_class)
