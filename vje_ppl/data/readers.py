"""Readers of the raw images of training batches, from memory or files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor

from vje_ppl.data.augment import Augment, ViewKey
from vje_ppl.data.cut_files import RandomCuts
from vje_ppl.data.file_loader import FileLoader
from vje_ppl.data.image_set import InMemoryImages, StreamedImages
from vje_ppl.data.preprocess import check_image_size
from vje_ppl.data.transfer import to_device


class RawBatch(ABC):
    """Images from which views can be made.

    Attributes:
        index: the images' places in the set, [n].
    """

    index: Int64[Tensor, " n"]

    @abstractmethod
    def view(self, augment: Augment, key: ViewKey) -> Float[Tensor, "n C size size"]:
        """Make one view of each image."""


class TrainingReader(ABC):
    """Fetches the images of one batch after another."""

    @abstractmethod
    def read(self, epoch: int, batches: Iterable[Int64[np.ndarray, " n"]]) -> Generator[RawBatch]:
        """Yield the images of each list of indices, in order."""

    @abstractmethod
    def close(self) -> None:
        """Stop all workers; nothing can be read afterwards."""


class InMemoryReader(TrainingReader):
    """Picks images from a tensor, which moves to the device for good if it fits there well.

    Args:
        images: the images.
        augment: how views are made.
        device: where they are made.
    """

    def __init__(self, images: InMemoryImages, augment: Augment, device: torch.device) -> None:
        check_image_size(images.images.shape[2], images.images.shape[3], augment.size)
        self._device = device
        fits = device.type != "cuda" or images.images.nbytes < torch.cuda.mem_get_info(device)[0] / 4
        self._images = images.images.to(device) if fits else images.images

    def read(self, epoch: int, batches: Iterable[Int64[np.ndarray, " n"]]) -> Generator[RawBatch]:
        """Yield whole images."""
        for batch in batches:
            index = to_device(batch, self._images.device)
            pixels = self._images.index_select(0, index).to(self._device, non_blocking=True)
            yield WholeImages(torch.from_numpy(batch), pixels)

    def close(self) -> None:
        """Do nothing."""


class WholeImages(RawBatch):
    """Images of which views are cut on the device."""

    def __init__(self, index: Int64[Tensor, " n"], pixels: Shaped[Tensor, "n C H W"]) -> None:
        self.index = index
        self._pixels = pixels

    def view(self, augment: Augment, key: ViewKey) -> Float[Tensor, "n C size size"]:
        """Cut, map colours, filter and normalize."""
        return augment.view(self._pixels, key)


class StreamedReader(TrainingReader):
    """Has workers decode files and cut a box for each view.

    Args:
        images: the files.
        augment: how views are made.
        seed: the run's seed.
        views: number of views, V.
        device: where views are finished.
    """

    def __init__(self, images: StreamedImages, augment: Augment, seed: int, views: int, device: torch.device) -> None:
        self._device = device
        cuts = RandomCuts(images, augment, seed, views)
        self._loader = FileLoader(cuts, images.workers, pin=device.type == "cuda")

    def read(self, epoch: int, batches: Iterable[Int64[np.ndarray, " n"]]) -> Generator[RawBatch]:
        """Yield cuts."""
        keys = ([(epoch, image) for image in batch.tolist()] for batch in batches)
        for batch in self._loader.read(keys):
            yield Cuts(batch.images, batch.pixels.to(self._device, non_blocking=True))

    def close(self) -> None:
        """End the workers."""
        self._loader.close()


class Cuts(RawBatch):
    """V cuts of each image, made by workers."""

    def __init__(self, index: Int64[Tensor, " n"], pixels: UInt8[Tensor, "n V C size size"]) -> None:
        self.index = index
        self._pixels = pixels

    def view(self, augment: Augment, key: ViewKey) -> Float[Tensor, "n C size size"]:
        """Map colours, filter and normalize."""
        return augment.finish(self._pixels[:, key.view], key)
