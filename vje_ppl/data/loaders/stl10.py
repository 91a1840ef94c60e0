"""STL-10: 100,000 unlabelled, 5,000 labelled and 8,000 test images of 96×96 pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vje_ppl.data.image_set import ImageData, InMemoryImages
from vje_ppl.data.loaders.download import read_or_download
from vje_ppl.data.selection import ClassChoice, fixed_subset, select_class
from vje_ppl.errors import UserError


def stl10(
    root: str,
    download: bool = False,
    subset: int | None = None,
    train_split: str = "unlabeled",
    only_class: ClassChoice = None,
) -> ImageData:
    """Load STL-10: embeddings learn from the unlabelled images, k-NN from the labelled images.

    The unlabelled images take 2.8 GB of memory.

    Args:
        root: the folder that holds `stl10_binary`.
        download: whether to download it first.
        subset: number of training images to keep; None: all.
        train_split: `unlabeled`, `train+unlabeled` or `train`: the images that embeddings are learned from.
        only_class: train on a single class, or on a list of classes, by name or number, which needs
            `train_split=train`; None: on all classes.
    """
    splits = ("unlabeled", "train+unlabeled", "train")
    if train_split not in splits:
        raise UserError(f"data.train_split must be one of {', '.join(splits)}, got {train_split}.")
    from torchvision.datasets import STL10

    def read(split: str) -> InMemoryImages:
        source = STL10(root, split=split)
        labels = None if "unlabeled" in split else torch.from_numpy(np.asarray(source.labels, dtype=np.int64))
        classes = None if labels is None else tuple(source.classes)
        return InMemoryImages(torch.from_numpy(source.data), labels, classes)

    def read_all(download: bool) -> tuple[InMemoryImages, InMemoryImages, InMemoryImages]:
        if download:
            STL10(root, split="test", download=True)
        bank = read("train")
        return bank if train_split == "train" else read(train_split), bank, read("test")

    train, bank, test = read_or_download(
        read_all, name="stl10", root=Path(root), folder=STL10.base_folder, download=download
    )
    if only_class is not None and train.labels is None:
        raise UserError(f"data.only_class={only_class} needs labelled training images; give data.train_split=train.")
    chosen = select_class(fixed_subset(train, subset), only_class)
    return ImageData("stl10", chosen, bank, test, 3, 96, len(bank.classes or ()))
