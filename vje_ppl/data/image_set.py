"""Data sets: images in memory, or read from files when needed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import override

import numpy as np
import torch
from jaxtyping import Int64, UInt8, UInt64
from torch import Tensor

from vje_ppl.data.image_files import FileNames, ImageFiles


class ImageSet(ABC):
    """N images with, perhaps, a label each.

    Attributes:
        labels: class indices, [N], with −1 for an image that has no label; None where none has.
        classes: class names, indexed by the labels, or None.
        channels: 1 (grey) or 3 (RGB).
        files: the files of the images, or None if the images are not in separate files.
        keys: a hash of each image's name below the folder of its data set, [N], or None if unknown.
    """

    labels: Int64[Tensor, " N"] | None
    classes: tuple[str, ...] | None
    channels: int
    files: ImageFiles | None
    keys: UInt64[np.ndarray, " N"] | None

    @abstractmethod
    def __len__(self) -> int: ...

    def select[T: ImageSet](self: T, indices: Int64[np.ndarray, " M"]) -> T:
        """Return the images at `indices`, in that order, with their labels."""
        selected = copy(self)
        selected.labels = None if self.labels is None else self.labels[torch.from_numpy(indices)]
        selected.files = None if self.files is None else self.files.select(indices)
        selected.keys = None if self.keys is None else self.keys[indices]
        return selected

    def _check(self) -> None:
        if self.labels is not None and len(self.labels) != len(self):
            raise ValueError(f"expected one label per image ({len(self)} images), got {len(self.labels)} labels")
        for name, given in (("file", self.files), ("key", self.keys)):
            if given is not None and len(given) != len(self):
                raise ValueError(f"expected one {name} per image ({len(self)} images), got {len(given)} {name}s")


class InMemoryImages(ImageSet):
    """Small images of one size, held as bytes: 50,000 CIFAR images take 154 MB.

    Args:
        images: pixel values 0 to 255, [N, C, H, W].
        labels: class indices, [N].
        classes: class names.
        files: the files that the images were read from, [N], if any.
        keys: a hash of each file's name, [N].
    """

    def __init__(
        self,
        images: UInt8[Tensor, "N C H W"],
        labels: Int64[Tensor, " N"] | None = None,
        classes: tuple[str, ...] | None = None,
        *,
        files: ImageFiles | None = None,
        keys: UInt64[np.ndarray, " N"] | None = None,
    ) -> None:
        self.images = images
        self.labels = labels
        self.classes = classes
        self.channels = images.shape[1]
        self.files = files
        self.keys = keys
        self._check()

    def __len__(self) -> int:
        return len(self.images)

    @override
    def select[T: InMemoryImages](self: T, indices: Int64[np.ndarray, " M"]) -> T:
        selected = super().select(indices)
        selected.images = self.images.index_select(0, torch.from_numpy(indices))
        return selected


class StreamedImages(ImageSet):
    """Image files, decoded by workers batch by batch.

    Attributes:
        files: the files.

    Args:
        paths: the files, [N]; or `ImageFiles`, where they lie inside larger files.
        labels: class indices, [N].
        classes: class names.
        channels: 1 or 3, to which the images are converted.
        workers: decoding processes; 0 decodes in the training process.
        skip_unreadable: whether to skip an unreadable file with a warning; otherwise it is an error.
        keys: a hash of each file's name, [N].
        bits: the range of values of more than 8 bits, as in `vje_ppl.data.decode.read_image`.

    Attributes:
        known_skips: warnings already given, in training and in evaluation; selections share them, so that each
            evaluation does not repeat them.
        turns: quarter turns of each image, [N], or None.
    """

    def __init__(
        self,
        paths: Sequence[str | Path] | ImageFiles,
        labels: Int64[Tensor, " N"] | None = None,
        classes: tuple[str, ...] | None = None,
        *,
        channels: int = 3,
        workers: int = 2,
        skip_unreadable: bool = False,
        keys: UInt64[np.ndarray, " N"] | None = None,
        bits: int | None = None,
    ) -> None:
        self.files: ImageFiles = paths if isinstance(paths, ImageFiles) else FileNames(paths)
        self.labels = labels
        self.classes = classes
        self.channels = channels
        self.workers = workers
        self.skip_unreadable = skip_unreadable
        self.keys = keys
        self.bits = bits
        self.known_skips: dict[str, set[str]] = {"training": set(), "evaluation": set()}
        self.turns: Int64[np.ndarray, " N"] | None = None
        self._check()

    def __len__(self) -> int:
        return len(self.files)

    @override
    def select[T: StreamedImages](self: T, indices: Int64[np.ndarray, " M"]) -> T:
        selected = super().select(indices)
        selected.turns = None if self.turns is None else self.turns[indices]
        return selected

    def turned(self, index: int, cuts: UInt8[np.ndarray, "V C S S"]) -> UInt8[np.ndarray, "V C S S"]:
        """Turn cuts of image `index` by its quarter turns, counterclockwise."""
        return cuts if self.turns is None else np.rot90(cuts, int(self.turns[index]), (2, 3))

    def path(self, index: int) -> str:
        """Return the file name of image `index`, or another name if it has none."""
        return str(self.files[index])


@dataclass(frozen=True, eq=False)
class ImageData:
    """The parts of a data set that a run uses.

    Attributes:
        name: the data set's name.
        train: the training images.
        bank: labelled training images of k-NN and the linear probe; None if there are no labels.
        test: held-out images, or None.
        channels: 1 or 3.
        image_size: side in pixels of the views, unless `augment.size` says otherwise.
        num_classes: number of classes, or None without labels.
        notes: what the user should know about how the images were found, a sentence each.
        calibration: training images kept out of `train` and `bank`, to calibrate scores; None if there are none.
        rotations: whether the four rotations of each training image are images of their own.
    """

    name: str
    train: ImageSet
    bank: ImageSet | None
    test: ImageSet | None
    channels: int
    image_size: int
    num_classes: int | None
    notes: tuple[str, ...] = ()
    calibration: ImageSet | None = None
    rotations: bool = False

    @property
    def turns(self) -> str:
        """Whether training images are rotated, in words for a list; empty if not."""
        return " in 4 rotations each" if self.rotations else ""

    @property
    def test_count(self) -> str:
        """How many test images there are, in words."""
        return "no" if self.test is None else str(len(self.test))

    @property
    def calibration_count(self) -> str:
        """How many images are kept for calibration, as the end of a list; empty if there are none."""
        return "" if self.calibration is None else f"; {len(self.calibration)} kept for calibration"

    @property
    def class_names(self) -> str:
        """The number of classes and their first names, in words, and the training classes if they are fewer."""
        images = self.train if self.bank is None else self.bank
        if images.classes is None:
            return "none: the images have no labels"
        learned = self.training_classes
        of = "" if len(learned) in (0, len(images.classes)) else f"; learns from {shortened(learned)} alone"
        return f"{len(images.classes)}: {shortened(images.classes)}{of}"

    @property
    def training_classes(self) -> tuple[str, ...]:
        """The classes that have training images; empty without labels."""
        labels, classes = self.train.labels, self.train.classes
        if labels is None or classes is None:
            return ()
        return tuple(classes[label] for label in labels[labels >= 0].unique().tolist())

    @property
    def only_class(self) -> str | None:
        """The class of all training images; None if they have several classes or none, or lack labels."""
        learned, labels = self.training_classes, self.train.labels
        return learned[0] if len(learned) == 1 and labels is not None and int(labels.min()) >= 0 else None


def shortened(names: Sequence[str], most: int = 5) -> str:
    """Return the first few of many names."""
    return ", ".join([*names[:most], *["…"] * (len(names) > most)])
