"""Image files as an image set: small images decoded into memory, others streamed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from vje_ppl.data.decode import UnreadableImageError, largest_sixteen_bits, read_image, read_size
from vje_ppl.data.file_loader import warn_of_skips
from vje_ppl.data.image_files import FileNames, ImageFile, ImageFiles
from vje_ppl.data.image_set import ImageSet, InMemoryImages, StreamedImages
from vje_ppl.data.loaders.left_out import say_once
from vje_ppl.data.loaders.scan import FoundImages
from vje_ppl.errors import UserError

LARGEST_SIDE_IN_MEMORY = 96  # pixels: beyond it decoding costs so much more than copying that workers pay


@dataclass(frozen=True)
class FileOptions:
    """How image files are read.

    Attributes:
        channels: 1 or 3, to which the images are converted.
        workers: decoding processes for streamed images.
        skip_unreadable: whether to skip unusable files with a warning.
        memory_mb: most megabytes of pixels to hold in memory.
        bits: the range of values of more than 8 bits, as in `vje_ppl.data.decode.read_image`.
    """

    channels: int
    workers: int
    skip_unreadable: bool
    memory_mb: float
    bits: int | None = None


def file_options(channels: int, workers: int, on_error: str, memory_mb: float, bits: int | None = None) -> FileOptions:
    """Check the options of the command line."""
    if on_error not in ("raise", "skip"):
        raise UserError(f"data.on_error must be raise or skip, got {on_error}.")
    if channels not in (1, 3):
        raise UserError(f"data.channels must be 1 (grey) or 3 (RGB), got {channels}.")
    if bits is not None and not 8 <= bits <= 32:
        raise UserError(f"data.bits must be null or a whole number from 8 to 32, got {bits}.")
    return FileOptions(channels, workers, on_error == "skip", memory_mb, bits)


def first_size(found: FoundImages, options: FileOptions) -> tuple[int, int]:
    """Return height and width in pixels of the first image, or of the first readable image where others are skipped."""
    for path in found.paths:
        try:
            return read_size(path)
        except UnreadableImageError as error:
            if not options.skip_unreadable:
                raise UserError(error.sentence) from error
    raise UserError(f"none of the {len(found.paths)} image files can be read, for example {found.paths[0]}.")


def open_images(found: FoundImages, options: FileOptions) -> ImageSet:
    """Make an image set of files.

    Images of one size, of at most 96 pixels a side, that fit into the memory allowed are decoded now (0.1 ms for a
    32×32 JPEG); any others are streamed.

    Raises:
        UserError: if a file that is decoded now cannot be read.
    """
    in_memory = _decode(found, options)
    return stream_images(found, options) if in_memory is None else in_memory


def stream_images(found: FoundImages, options: FileOptions) -> StreamedImages:
    """Make an image set that is decoded as it is used."""
    labels = None if found.labels is None else torch.from_numpy(found.labels)
    return StreamedImages(
        found.paths,
        labels,
        found.classes,
        channels=options.channels,
        workers=options.workers,
        skip_unreadable=options.skip_unreadable,
        keys=found.keys,
        bits=options.bits,
    )


def _decode(found: FoundImages, options: FileOptions) -> InMemoryImages | None:
    height, width = first_size(found, options)
    needed = len(found.paths) * options.channels * height * width
    if max(height, width) > LARGEST_SIDE_IN_MEMORY or needed > options.memory_mb * 1e6:
        return None
    pixels = np.empty((len(found.paths), options.channels, height, width), dtype=np.uint8)
    kept: list[int] = []
    problems: list[str] = []
    progress = tqdm(found.paths, desc="decoding", unit="image", delay=2, leave=False, disable=None)
    for index, path in enumerate(progress):
        try:
            image = read_image(path, options.channels, options.bits)
        except UnreadableImageError as error:
            if not options.skip_unreadable:
                raise UserError(error.sentence) from error
            problems.append(str(error))
            continue
        if image.shape[1:] != (height, width):
            return None
        pixels[len(kept)] = image
        kept.append(index)
    warn_of_skips(problems)
    labels = None if found.labels is None else torch.from_numpy(found.labels[kept])
    files = found.paths if isinstance(found.paths, ImageFiles) else FileNames(found.paths)
    return InMemoryImages(
        torch.from_numpy(pixels[: len(kept)]),
        labels,
        found.classes,
        files=files.select(np.array(kept, dtype=np.int64)),
        keys=found.keys[kept],
    )


_LOOKED_AT = 16
_USUAL = (8, 10, 12, 14)


@dataclass(frozen=True)
class DarkImages:
    """Images of 16 bits none of which reaches a quarter of their range.

    Attributes:
        largest: their largest value.
        checked: how many were checked.
    """

    largest: int
    checked: int

    @property
    def likely_bits(self) -> int:
        """The usual number of bits that holds the largest value."""
        return next(bits for bits in _USUAL if self.largest < 1 << bits)

    def __str__(self) -> str:
        return f"reach {self.largest} of 65535 in the {self.checked} that were checked"


def find_dark(files: Sequence[ImageFile] | ImageFiles) -> DarkImages | None:
    """Check up to 16 images; return None unless some have 16 bits, and all of those are dark."""
    places = np.unique(np.linspace(0, len(files) - 1, min(_LOOKED_AT, len(files))).astype(int))
    reached = [value for place in places if (value := _largest(files[int(place)])) is not None]
    return DarkImages(max(reached), len(reached)) if reached and max(reached) < 1 << 14 else None


def check_bits(name: str, found: FoundImages, options: FileOptions) -> None:
    """Check up to 16 of the images, if `data.bits` is not set.

    Images of 16 bits should fill their range. If none reaches a quarter of it, warn.

    Args:
        name: the data set's.
        found: the images.
        options: how they are read.

    Raises:
        UserError: if none reaches a sixteenth of it, since they would be read as nearly black.
    """
    dark = find_dark(found.paths) if options.bits is None else None
    if dark is None:
        return
    finding, likely = f"the 16-bit images of {name} {dark}", dark.likely_bits
    remedy = f"give data.bits={likely} if their values have {likely} bits, or data.bits=16 to read them as they are"
    if dark.largest < 1 << 12:
        raise UserError(f"{finding} and would be read as nearly black; {remedy}.")
    say_once(f"{finding} and are read as dark; {remedy}")


def _largest(file: ImageFile) -> int | None:
    try:
        return largest_sixteen_bits(file)
    except UnreadableImageError:  # handled according to `data.on_error` when the file is read
        return None
