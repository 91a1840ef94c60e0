"""CIFAR-10 and CIFAR-100: 50,000 training and 10,000 test images of 32×32 pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from vje_ppl.data.image_set import ImageData, InMemoryImages
from vje_ppl.data.loaders.download import read_or_download
from vje_ppl.data.selection import ClassChoice, fixed_subset, select_class


def cifar10(root: str, download: bool = False, subset: int | None = None, only_class: ClassChoice = None) -> ImageData:
    """Load CIFAR-10.

    Args:
        root: the folder that holds `cifar-10-batches-py`.
        download: whether to download it first.
        subset: number of training images to keep; None: all.
        only_class: train on a single class, or on a list of classes, by name or number; None: on all classes.
    """
    from torchvision.datasets import CIFAR10

    return _load("cifar10", CIFAR10, root, download, subset, only_class)


def cifar100(root: str, download: bool = False, subset: int | None = None, only_class: ClassChoice = None) -> ImageData:
    """Load CIFAR-100 with its 100 fine classes.

    Args:
        root: the folder that holds `cifar-100-python`.
        download: whether to download it first.
        subset: number of training images to keep; None: all.
        only_class: train on a single class, or on a list of classes, by name or number; None: on all classes.
    """
    from torchvision.datasets import CIFAR100

    return _load("cifar100", CIFAR100, root, download, subset, only_class)


def _load(name: str, dataset: Any, root: str, download: bool, subset: int | None, only_class: ClassChoice) -> ImageData:
    def read(train: bool, download: bool) -> InMemoryImages:
        source = dataset(root, train=train, download=download)
        pixels = np.ascontiguousarray(source.data.transpose(0, 3, 1, 2))
        labels = torch.tensor(source.targets, dtype=torch.int64)
        return InMemoryImages(torch.from_numpy(pixels), labels, tuple(source.classes))

    def read_both(download: bool) -> tuple[InMemoryImages, InMemoryImages]:
        return read(True, download), read(False, False)

    train, test = read_or_download(read_both, name=name, root=Path(root), folder=dataset.base_folder, download=download)
    train = fixed_subset(train, subset)
    return ImageData(name, select_class(train, only_class), train, test, 3, 32, len(train.classes or ()))
