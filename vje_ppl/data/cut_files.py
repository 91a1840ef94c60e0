"""The work of decoding workers: they cut boxes out of image files and stack them into batches of bytes."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vje_ppl.data.augment import Augment
from vje_ppl.data.conform import converted
from vje_ppl.data.decode import Box, UnreadableImageError, read_cuts, read_image, read_size
from vje_ppl.data.image_set import StreamedImages
from vje_ppl.data.preprocess import Preprocess
from vje_ppl.parallel.randomness import Stream, keyed_generator

_SECONDS_AFTER_SIGTERM = 30


@dataclass(frozen=True, eq=False)
class FileCuts:
    """The result of reading an image file.

    Attributes:
        index: the image that was read, or -1.
        pixels: its V cuts, [V, C, size, size] of bytes, or None.
        skipped: messages about skipped files.
        failure: why reading must stop, or None. Errors travel as text: an exception that crosses from a worker comes
            out with the worker's traceback inside its message.
    """

    index: int
    pixels: np.ndarray | None
    skipped: tuple[str, ...] = ()
    failure: str | None = None


class BatchOfCuts(NamedTuple):
    """The result of reading a batch of image files; fields as in `FileCuts`, of the files that could be read.

    A tuple, because a tuple's tensors are what a `DataLoader` knows how to pin in memory.
    """

    images: Tensor
    pixels: Tensor
    skipped: tuple[str, ...]
    failure: str | None


class RandomCuts(Dataset[FileCuts]):
    """Random boxes of image files; the key of an item is (epoch, image).

    Args:
        images: the files.
        augment: draws the boxes.
        seed: the run's seed; with epoch, image and view it determines a box.
        views: number of boxes per image.
    """

    MAX_SKIPPED_IN_A_ROW = 100

    def __init__(self, images: StreamedImages, augment: Augment, seed: int, views: int) -> None:
        self._images = images
        self._augment = augment
        self._seed = seed
        self._views = views

    @property
    def known_skips(self) -> set[str]:
        """Warnings of unreadable files that were given already."""
        return self._images.known_skips["training"]

    def __getitem__(self, key: tuple[int, int]) -> FileCuts:
        """Read an image; if unreadable files are skipped, the next readable file takes its place."""
        epoch, wanted = key
        skipped: list[str] = []
        for offset in range(min(len(self._images), self.MAX_SKIPPED_IN_A_ROW)):
            index = (wanted + offset) % len(self._images)
            try:
                return FileCuts(index, self._cut(epoch, index), tuple(skipped))
            except UnreadableImageError as error:
                if not self._images.skip_unreadable:
                    return FileCuts(-1, None, failure=error.sentence)
                skipped.append(str(error))
        return FileCuts(-1, None, failure=f"{len(skipped)} files in a row cannot be used, the first: {skipped[0]}.")

    def _cut(self, epoch: int, index: int) -> np.ndarray:
        def draw_boxes(height: int, width: int) -> list[Box]:
            rngs = [keyed_generator(Stream.IMAGE_BOXES, self._seed, epoch, index, view) for view in range(self._views)]
            return [tuple(self._augment.draw_boxes(rng, 1, height, width)[0].tolist()) for rng in rngs]

        images = self._images
        cuts = read_cuts(images.files[index], images.channels, self._augment.size, draw_boxes, images.bits)
        return images.turned(index, cuts)


class AllCuts(Dataset[FileCuts]):
    """The central square of image files, then random boxes; the key of an item is the image.

    A file that cannot be used is reported, and no other file takes its place.

    Args:
        images: the files.
        augment: draws the boxes, and determines the square and its size in pixels.
        seed: of the boxes; with image and view it determines a box, as `RandomCuts` does in epoch 0.
        views: number of boxes per image.
        whole: None; or the side in pixels of the images of a data set in memory, in whose form the images are returned,
            without boxes.
        offset: what to add to the images' places where they determine boxes.
    """

    #: Larger files are decoded at a reduced resolution.
    LARGEST_WHOLE = 96

    def __init__(
        self, images: StreamedImages, augment: Augment, seed: int, views: int, whole: int | None = None, offset: int = 0
    ) -> None:
        self._images, self._augment, self._whole = images, augment, whole
        self._seed, self._views, self._offset = seed, views, offset

    @property
    def known_skips(self) -> set[str]:
        """Warnings of unreadable files that were given already."""
        return self._images.known_skips["evaluation"]

    def __getitem__(self, index: int) -> FileCuts:
        """Read an image, or report that it was skipped."""
        try:
            cuts = self._cuts(index) if self._whole is None else self._in_memory(index, self._whole)
        except UnreadableImageError as error:
            return FileCuts(-1, None, skipped=(str(error),))
        return FileCuts(index, self._images.turned(index, cuts))

    def _cuts(self, index: int) -> np.ndarray:
        images, augment, place = self._images, self._augment, index + self._offset

        def draw_boxes(height: int, width: int) -> list[Box]:
            rngs = [keyed_generator(Stream.IMAGE_BOXES, self._seed, 0, place, view) for view in range(self._views)]
            return [tuple(augment.draw_boxes(rng, 1, height, width)[0].tolist()) for rng in rngs]

        def read(choose: Callable[[int, int], list[Box]]) -> np.ndarray:
            return read_cuts(images.files[index], images.channels, augment.size, choose, images.bits)

        central = read(partial(_central_box, augment.evaluation))
        return np.concatenate([central, read(draw_boxes)]) if self._views else central

    def _in_memory(self, index: int, side: int) -> np.ndarray:
        images, path = self._images, self._images.files[index]
        height, width = read_size(path)
        if max(height, width) > self.LARGEST_WHOLE and min(height, width) >= side:
            return read_cuts(path, images.channels, side, _square, images.bits)
        pixels = read_image(path, images.channels, images.bits)[None]
        if pixels.shape[2:] == (side, side):
            return pixels
        return converted(torch.from_numpy(pixels.copy()), images.channels, side).numpy()


class CentralCuts(Dataset[FileCuts]):
    """The central square of image files; the key of an item is the image.

    Args:
        images: the files.
        preprocess: determines the square and its size in pixels.
    """

    def __init__(self, images: StreamedImages, preprocess: Preprocess) -> None:
        self._images = images
        self._preprocess = preprocess

    @property
    def known_skips(self) -> set[str]:
        """Warnings of unreadable files that were given already."""
        return self._images.known_skips["evaluation"]

    def __getitem__(self, index: int) -> FileCuts:
        """Read an image, or report that it was skipped."""
        path, channels, size = self._images.files[index], self._images.channels, self._preprocess.size
        try:
            box = partial(_central_box, self._preprocess)
            pixels = read_cuts(path, channels, size, box, self._images.bits)
        except UnreadableImageError as error:
            if not self._images.skip_unreadable:
                return FileCuts(-1, None, failure=error.sentence)
            return FileCuts(-1, None, skipped=(str(error),))
        return FileCuts(index, self._images.turned(index, pixels))


def _central_box(preprocess: Preprocess, height: int, width: int) -> list[Box]:
    top, left, box_height, box_width = preprocess.center_box(height, width)
    return [(float(top), float(left), float(box_height), float(box_width))]


def _square(height: int, width: int) -> list[Box]:
    side = min(height, width)
    return [(float((height - side) // 2), float((width - side) // 2), float(side), float(side))]


def collate_cuts(items: list[FileCuts]) -> BatchOfCuts:
    """Stack what was read."""
    read = [(item.index, item.pixels) for item in items if item.pixels is not None]
    pixels = np.stack([cuts for _, cuts in read]) if read else np.empty((0, 0, 0, 0, 0), dtype=np.uint8)
    index = torch.tensor([index for index, _ in read], dtype=torch.int64)
    skipped = tuple(message for item in items for message in item.skipped)
    failure = next((item.failure for item in items if item.failure is not None), None)
    return BatchOfCuts(index, torch.from_numpy(pixels), skipped, failure)


def start_worker(_: int) -> None:
    """Ignore signals that stop the training process, which must be able to save before its workers end."""
    for number in ("SIGINT", "SIGUSR1", "SIGUSR2"):
        if hasattr(signal, number):
            signal.signal(getattr(signal, number), signal.SIG_IGN)
    if hasattr(signal, "alarm"):
        # A SIGTERM that goes to a whole process group, as from SLURM or `timeout`, works after a grace period.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_SECONDS_AFTER_SIGTERM))
