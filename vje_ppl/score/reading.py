"""The views of images that are scored, block by block, in the form of the run's images.

Random views are keyed by the seed, the place of the image in its set and the number of the view, as in the run's own
evaluation. Images that calibrate scores have places of their own, so that they share no random number with others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from vje_ppl.data.augment import Augment, ViewKey
from vje_ppl.data.batches import BLOCK
from vje_ppl.data.cut_files import AllCuts
from vje_ppl.data.file_loader import FileLoader
from vje_ppl.data.image_set import ImageSet, InMemoryImages, StreamedImages

#: Added to the places of images that calibrate scores; a multiple of `BLOCK`.
CALIBRATION_PLACES = 2**40

#: Sets with fewer images are decoded without further processes, which take a moment to start.
_FEW = 2 * BLOCK


@dataclass(frozen=True)
class ImageForm:
    """The form of a run's images.

    Attributes:
        channels: 1 (grey) or 3 (RGB).
        side: of the data set's images in pixels.
        in_memory: whether they are whole images of that side, from which views are cut; otherwise views are cut from
            image files.
        bits: the range of values of more than 8 bits, as in `vje_ppl.data.decode.read_image`.
    """

    channels: int
    side: int
    in_memory: bool
    bits: int | None = None


@dataclass(frozen=True, eq=False)
class Block:
    """At most 64 consecutive images.

    Attributes:
        places: their places in the set, [n].
        read: which of them could be read, increasing indices into `places`, [r].
        pixels: cuts of those that could be read; a single cut if it is the whole image.
        reasons: why the others could not be read, in order.
    """

    places: Int64[np.ndarray, " n"]
    read: Int64[Tensor, " r"]
    pixels: Shaped[Tensor, "r K C H W"]
    reasons: tuple[str, ...] = ()


class Source(ABC):
    """N images in the form of a run's.

    Attributes:
        in_memory: whether the only cut of an image is the whole image.
        offset: added to the images' places where they determine random numbers.
    """

    in_memory: bool
    offset: int

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def blocks(self, numbers: Sequence[int]) -> Iterator[Block]:
        """Yield blocks by number, in order."""

    def places(self, number: int) -> Int64[np.ndarray, " n"]:
        """Return the places of the images of a block."""
        return np.arange(BLOCK * number, min(BLOCK * (number + 1), len(self)))


class ArraySource(Source):
    """Images in memory, all readable."""

    def __init__(self, images: InMemoryImages, offset: int = 0) -> None:
        self._pixels, self.in_memory, self.offset = images.images, True, offset

    def __len__(self) -> int:
        return len(self._pixels)

    def blocks(self, numbers: Sequence[int]) -> Iterator[Block]:
        """Yield blocks by number, in order."""
        for number in numbers:
            places = self.places(number)
            pixels = self._pixels[torch.from_numpy(places)]
            yield Block(places, torch.arange(len(places)), pixels.unsqueeze(1))


class FileSource(Source):
    """Image files.

    Args:
        images: the files.
        augment: cuts them.
        seed: of random boxes.
        views: random views of an image.
        whole: side in pixels of the run's images, if they are held in memory; else None.
        pin: whether to read into page-locked memory.
        offset: as in `Source`.
    """

    def __init__(
        self,
        images: StreamedImages,
        augment: Augment,
        seed: int,
        views: int,
        whole: int | None,
        pin: bool,
        offset: int = 0,
    ) -> None:
        self._images, self._pin = images, pin
        self._cuts = AllCuts(images, augment, seed, views, whole, offset)
        self.in_memory, self.offset = whole is not None, offset

    def __len__(self) -> int:
        return len(self._images)

    def blocks(self, numbers: Sequence[int]) -> Iterator[Block]:
        """Yield blocks by number, in order; decoding works ahead."""
        workers = self._images.workers if len(self) > _FEW else 0
        loader = FileLoader(self._cuts, workers, pin=self._pin, warn=False)
        try:
            batches = loader.read(self.places(number).tolist() for number in numbers)
            for number, batch in zip(numbers, batches, strict=True):
                places = self.places(number)
                yield Block(places, batch.images - int(places[0]), batch.pixels, batch.skipped)
        finally:
            loader.close()


def source(
    images: ImageSet, augment: Augment, form: ImageForm, seed: int, views: int, pin: bool, offset: int = 0
) -> Source:
    """Return a source of images in memory, which must have the run's form already, or of files."""
    if isinstance(images, InMemoryImages):
        return ArraySource(images, offset)
    assert isinstance(images, StreamedImages)
    return FileSource(images, augment, seed, views, form.side if form.in_memory else None, pin, offset)


def block_views(
    block: Block, of: Source, augment: Augment, seed: int, views: int, device: torch.device
) -> list[Float[Tensor, "r C size size"]]:
    """Return the prepared images of a block, then their random views: of those that could be read.

    Args:
        block: the images.
        of: the source of the block.
        augment: makes the views.
        seed: of the random views.
        views: random views of an image.
        device: where they are made.
    """
    pixels = block.pixels.to(device, non_blocking=True)
    prepare = augment.evaluation if of.in_memory else augment.evaluation.finish
    found = [prepare(pixels[:, 0])]
    if not views:
        return found
    count, number = len(block.places), (int(block.places[0]) + of.offset) // BLOCK
    keys = [ViewKey(seed, number, view, slice(0, count), BLOCK) for view in range(views)]
    rows = block.read.to(device)
    whole = pixels.new_zeros(count, *pixels.shape[1:])  # a row per image, to which its random numbers belong
    whole[rows] = pixels
    for key in keys:
        made = augment.view(whole[:, 0], key) if of.in_memory else augment.finish(whole[:, 1 + key.view], key)
        found.append(made[rows])
    return found
