"""Batches: for training, random views in an order that depends on the seed alone; for evaluation, every image once.

In evaluation, random numbers belong to blocks of `BLOCK` consecutive images, so that they depend on seed, image and
view, and not on the number of images in a batch of the network.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vje_ppl.data.augment import Augment, ViewKey
from vje_ppl.data.cut_files import CentralCuts
from vje_ppl.data.file_loader import FileLoader
from vje_ppl.data.image_set import ImageSet, InMemoryImages, StreamedImages
from vje_ppl.data.preprocess import Preprocess
from vje_ppl.data.readers import InMemoryReader, StreamedReader, TrainingReader
from vje_ppl.errors import UserError
from vje_ppl.parallel.randomness import Stream, keyed_generator

#: Images that share a generator in evaluation.
BLOCK = 64


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """One process's share of a global batch.

    Attributes:
        step: global step: the steps of all epochs before, plus the place in the present epoch.
        index: the images' places in the set, [n].
        views: V batches of views, each [n, C, size, size], normalized.
        wait_s: seconds spent waiting for the images: indexing, decoding, moving to the device.
    """

    step: int
    index: Int64[Tensor, " n"]
    views: tuple[Float[Tensor, "n C size size"], ...]
    wait_s: float


class TrainingBatches:
    """Random views of a data set, batch by batch.

    The order of an epoch depends on seed and epoch alone. A global batch is `batch_size` consecutive images of that
    order, of which rank r takes the r-th part; an incomplete last batch is dropped. A view depends on the seed, the
    step, its row in the global batch and its number; its place in a streamed image depends on the seed, the epoch, the
    image and its number. So neither the number of processes nor the number of workers changes a batch, and an epoch
    resumed in the middle continues with the same batches. No global generator is used.

    Args:
        images: the images to train on.
        augment: how views are made.
        batch_size: images per step over all processes.
        seed: the run's seed, non-negative.
        device: where views are made and returned.
        views: views per image, V.
        rank: this process.
        world_size: number of processes.

    Attributes:
        steps_per_epoch: batches in an epoch.

    Raises:
        UserError: if the batch is larger than the data set or does not divide among the processes, or if images are
            smaller than the views; from `epoch`, if a file cannot be used.
    """

    def __init__(
        self,
        images: ImageSet,
        augment: Augment,
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
        views: int = 2,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not 1 <= batch_size <= len(images):
            raise UserError(
                f"batch_size={batch_size} does not fit a training set of {len(images)} images; set batch_size between "
                f"1 and {len(images)}."
            )
        if batch_size % world_size:
            raise UserError(
                f"batch_size={batch_size} is split among {world_size} processes and must be a multiple of "
                f"{world_size}; try batch_size={max(1, batch_size // world_size) * world_size}."
            )
        if views > augment.most_views(images):
            raise UserError(
                f"trainer.views={views} needs as many feature vectors of each image, but there are "
                f"{augment.most_views(images)} to train on; give fewer views, or features with more."
            )
        if seed < 0:
            raise UserError(f"seed must be 0 or more, got {seed}.")
        self.steps_per_epoch = len(images) // batch_size
        self._count, self._batch_size, self._seed, self._views = len(images), batch_size, seed, views
        share = batch_size // world_size
        self._rows = slice(rank * share, (rank + 1) * share)
        self._augment = augment
        self._reader = _reader(images, augment, seed, views, device)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[TrainingBatch]:
        """Go through an epoch; one epoch at a time.

        Args:
            epoch: its number, from 0.
            start_step: number of batches to skip at the start.
        """
        order = keyed_generator(Stream.EPOCH_ORDER, self._seed, epoch).permutation(self._count)
        places = range(start_step, self.steps_per_epoch)
        shares = (order[place * self._batch_size :][: self._batch_size][self._rows] for place in places)
        with closing(self._reader.read(epoch, shares)) as batches:
            for place in places:
                start = time.perf_counter()
                raw = next(batches)
                waited = time.perf_counter() - start
                step = epoch * self.steps_per_epoch + place
                keys = [ViewKey(self._seed, step, view, self._rows, self._batch_size) for view in range(self._views)]
                views = tuple(raw.view(self._augment, key) for key in keys)
                yield TrainingBatch(step, raw.index, views, waited)


@dataclass(frozen=True)
class Share:
    """The batches of an evaluation that are one process's: every `world_size`-th `together` of them.

    Attributes:
        rank: the process, from 0.
        world_size: number of processes.
        together: consecutive batches that stay together.
    """

    rank: int = 0
    world_size: int = 1
    together: int = 1

    def of(self, count: int) -> list[int]:
        """Return which of `count` batches these are, in order."""
        return [number for number in range(count) if number // self.together % self.world_size == self.rank]


def evaluation_batches(
    images: ImageSet, preprocess: Preprocess, *, batch_size: int, device: torch.device, share: Share = Share()
) -> Iterator[tuple[Int64[Tensor, " n"], Float[Tensor, "n C size size"]]]:
    """Go through all images once, in order, without randomness.

    Args:
        images: the images.
        preprocess: how they are prepared.
        batch_size: images per batch; the last batch may be smaller.
        device: where they are prepared and returned.
        share: which batches, where several processes share them.

    Yields:
        The images' places in the set, [n], and the images, [n, C, size, size]. Skipped files are left out.

    Raises:
        UserError: if an image is too small, or if a file cannot be used.
    """
    starts = [batch_size * number for number in share.of(math.ceil(len(images) / batch_size))]
    if isinstance(images, InMemoryImages):
        for start in starts:
            pixels = images.images[start : start + batch_size].to(device, non_blocking=True)
            yield torch.arange(start, start + len(pixels)), preprocess(pixels)
    elif isinstance(images, StreamedImages):
        loader = FileLoader(CentralCuts(images, preprocess), images.workers, pin=device.type == "cuda")
        try:
            for batch in loader.read(list(range(start, min(start + batch_size, len(images)))) for start in starts):
                if len(batch.images):
                    yield batch.images, preprocess.finish(batch.pixels[:, 0].to(device, non_blocking=True))
        finally:
            loader.close()
    else:
        raise _unknown(images)


def evaluation_views(
    images: ImageSet, augment: Augment, *, views: int, seed: int, device: torch.device, share: Share = Share()
) -> Iterator[tuple[Int64[Tensor, " n"], list[Float[Tensor, "n C size size"]]]]:
    """Go through all images once, in order, a block at a time: the prepared image first, then its random views.

    A random view depends on the seed, the image's place in the set and the view's number alone.

    Args:
        images: the images.
        augment: makes the views, and prepares the image without randomness.
        views: random views of an image, V; 0: none.
        seed: of the random views, non-negative; not the training seed itself, whose views the network has seen.
        device: where they are made and returned.
        share: which blocks, where several processes share them.

    Yields:
        The images' places in the set, [n], and 1 + V batches, each [n, C, size, size]. Skipped files are left out.

    Raises:
        UserError: if an image is too small, or if a file cannot be used.
    """
    prepared = evaluation_batches(images, augment.evaluation, batch_size=BLOCK, device=device, share=share)
    if not views:
        yield from ((index, [view]) for index, view in prepared)
        return
    numbers = share.of(math.ceil(len(images) / BLOCK))
    blocks = [np.arange(BLOCK * number, min(BLOCK * (number + 1), len(images))) for number in numbers]
    reader = _reader(images, augment, seed, views, device)
    try:
        ahead = next(prepared, None)
        for number, block, raw in zip(numbers, blocks, reader.read(0, iter(blocks)), strict=True):
            if ahead is None or int(ahead[0][0]) // BLOCK != number:
                continue  # every file of the block was skipped
            index, view = ahead
            ahead = next(prepared, None)
            rows = index - number * BLOCK
            read = raw.index[rows] == index  # a skipped file is replaced by another
            keys = [ViewKey(seed, number, one, slice(0, len(block)), BLOCK) for one in range(views)]
            yield index[read], [view[read], *(raw.view(augment, key)[rows[read]] for key in keys)]
    finally:
        reader.close()


def _reader(images: ImageSet, augment: Augment, seed: int, views: int, device: torch.device) -> TrainingReader:
    if isinstance(images, InMemoryImages):
        return InMemoryReader(images, augment, device)
    if isinstance(images, StreamedImages):
        return StreamedReader(images, augment, seed, views, device)
    raise _unknown(images)


def _unknown(images: ImageSet) -> TypeError:
    return TypeError(f"expected InMemoryImages or StreamedImages, got {type(images).__name__}")
