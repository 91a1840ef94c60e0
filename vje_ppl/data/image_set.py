"""What a data set is to the rest of the package: images held in memory, or read from files as they are needed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from vje_ppl.data.image_files import FileNames, ImageFiles


class ImageSet(ABC):
    """N images with, perhaps, a label each.

    Attributes:
        labels: class indices, [N], with −1 for an image that has no label; None where none has.
        classes: the class names that the labels index, or None.
        channels: 1 (grey) or 3 (RGB).
    """

    labels: Int64[Tensor, " N"] | None
    classes: tuple[str, ...] | None
    channels: int

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def select(self, indices: Int64[np.ndarray, " M"]) -> ImageSet:
        """Returns the images at `indices`, in that order, with their labels."""

    def _select_labels(self, indices: Int64[np.ndarray, " M"]) -> Tensor | None:
        return None if self.labels is None else self.labels[torch.from_numpy(indices)]

    def _check_labels(self) -> None:
        if self.labels is not None and len(self.labels) != len(self):
            raise ValueError(f"expected one label per image ({len(self)} images), got {len(self.labels)} labels")


class InMemoryImages(ImageSet):
    """Small images of one size, held as bytes: 50,000 CIFAR images take 154 MB.

    Args:
        images: pixel values 0 to 255, [N, C, H, W].
        labels: class indices, [N].
        classes: class names.
    """

    def __init__(
        self,
        images: UInt8[Tensor, "N C H W"],
        labels: Int64[Tensor, " N"] | None = None,
        classes: tuple[str, ...] | None = None,
    ) -> None:
        self.images = images
        self.labels = labels
        self.classes = classes
        self.channels = images.shape[1]
        self._check_labels()

    def __len__(self) -> int:
        return len(self.images)

    def select(self, indices: Int64[np.ndarray, " M"]) -> InMemoryImages:
        """Returns a copy of the images at `indices`, in that order, with their labels."""
        chosen = self.images.index_select(0, torch.from_numpy(indices))
        return InMemoryImages(chosen, self._select_labels(indices), self.classes)


class StreamedImages(ImageSet):
    """Image files, decoded by workers batch by batch.

    Attributes:
        files: the files.

    Args:
        paths: the files, [N]; or `ImageFiles`, where they lie inside larger files.
        labels: class indices, [N].
        classes: class names.
        channels: 1 or 3: what the files are converted to.
        workers: decoding processes; 0 decodes in the training process.
        skip_unreadable: whether an unreadable file is passed over with a warning; otherwise it is an error.
        bits: the range of values of more than 8 bits, as in `vje_ppl.data.decode.read_image`.

    Attributes:
        known_skips: warnings already given, in training and in evaluation; selections share them, so that each
            evaluation does not repeat them.
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
        bits: int | None = None,
    ) -> None:
        self.files = paths if isinstance(paths, ImageFiles) else FileNames(paths)
        self.labels = labels
        self.classes = classes
        self.channels = channels
        self.workers = workers
        self.skip_unreadable = skip_unreadable
        self.bits = bits
        self.known_skips: dict[str, set[str]] = {"training": set(), "evaluation": set()}
        self._check_labels()

    def __len__(self) -> int:
        return len(self.files)

    def path(self, index: int) -> str:
        """Returns the file name of image `index`, or what else it is called."""
        return str(self.files[index])

    def select(self, indices: Int64[np.ndarray, " M"]) -> StreamedImages:
        """Returns the files at `indices`, in that order, with their labels."""
        selected = StreamedImages(
            self.files.select(indices),
            self._select_labels(indices),
            self.classes,
            channels=self.channels,
            workers=self.workers,
            skip_unreadable=self.skip_unreadable,
            bits=self.bits,
        )
        selected.known_skips = self.known_skips
        return selected


@dataclass(frozen=True, eq=False)
class ImageData:
    """The parts of a data set that a run uses.

    Attributes:
        name: the data set's name.
        train: the images to learn embeddings from.
        bank: labelled images that k-NN and the linear probe learn from; None where there are no labels.
        test: held-out images; None where there are none.
        channels: 1 or 3.
        image_size: side in pixels of the views, unless `augment.size` says otherwise.
        num_classes: number of classes, or None where there are no labels.
    """

    name: str
    train: ImageSet
    bank: ImageSet | None
    test: ImageSet | None
    channels: int
    image_size: int
    num_classes: int | None
