"""SVHN: 73,257 training and 26,032 test images of house numbers, 32×32 pixels."""

from __future__ import annotations

from pathlib import Path

import torch

from vje_ppl.data.image_set import ImageData, InMemoryImages
from vje_ppl.data.loaders.download import read_or_download
from vje_ppl.data.selection import ClassChoice, fixed_subset, select_class


def svhn(root: str, download: bool = False, subset: int | None = None, only_class: ClassChoice = None) -> ImageData:
    """Load SVHN's cropped digits.

    Args:
        root: the folder that holds `svhn/train_32x32.mat` and `svhn/test_32x32.mat`.
        download: whether to download it first.
        subset: number of training images to keep; None: all.
        only_class: train on a single class, or on a list of classes, by name or number; None: on all classes.

    Source: Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature Learning", 2011.
    """
    from torchvision.datasets import SVHN

    folder = Path(root) / "svhn"

    def read(download: bool) -> tuple[InMemoryImages, InMemoryImages]:
        splits = (SVHN(str(folder), split=split, download=download) for split in ("train", "test"))
        train, test = (
            InMemoryImages(torch.from_numpy(one.data.copy()), torch.from_numpy(one.labels), classes) for one in splits
        )
        return train, test

    classes = tuple(map(str, range(10)))
    train, test = read_or_download(read, name="svhn", root=Path(root), folder="svhn", download=download)
    train = fixed_subset(train, subset)
    return ImageData("svhn", select_class(train, only_class), train, test, 3, 32, len(classes))
