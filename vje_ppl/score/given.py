"""What is scored: image files, or the rows of an array, which is one image or the feature vectors of one image each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from torch import Tensor

from vje_ppl.data.conform import converted
from vje_ppl.data.cut_files import AllCuts
from vje_ppl.data.decode import read_image
from vje_ppl.data.feature_views import FeatureViews, FirstView
from vje_ppl.data.fingerprint import digest
from vje_ppl.data.image_files import FileNames, ImageFiles
from vje_ppl.data.image_set import ImageSet, InMemoryImages, StreamedImages
from vje_ppl.data.loaders.arrays import IMAGES, read_arrays
from vje_ppl.data.loaders.features import FEATURES
from vje_ppl.data.loaders.files import find_dark
from vje_ppl.data.loaders.left_out import say_once
from vje_ppl.errors import UserError
from vje_ppl.runs.trained_run import Images, TrainedRun, as_given
from vje_ppl.score.find import find_files, last_changes, name_of, path_list
from vje_ppl.score.reading import ImageForm

#: Images in memory that are hashed at a time.
_CHUNK = 4096

#: Files of NumPy: of one array, and of arrays by name.
ARRAY, ARRAYS = ".npy", ".npz"


@dataclass(frozen=True, eq=False)
class Given:
    """Images to score, in a fixed order.

    Attributes:
        images: the images, or their feature vectors; those in memory are in the form of the run's.
        places: where each of them is: its file, or the row of the array.
        name: a name for all of them, such as the name of their folder.
        left_out: which files among them are not scored, in words; empty if none.
    """

    images: ImageSet
    places: ImageFiles
    name: str
    left_out: str = ""

    @cached_property
    def digest(self) -> str:
        """Their number and a digest of all values of images in memory, or of names, sizes and last changes of files."""
        found = hashlib.sha256(digest(self.images).encode())
        if isinstance(self.images, InMemoryImages):
            pixels = self.images.images
            found.update(f"{pixels.dtype} {tuple(pixels.shape)}".encode())
            for chunk in pixels.split(_CHUNK):
                found.update(np.ascontiguousarray(chunk.numpy()))
        else:
            found.update(last_changes(self.places).astype("<i8").tobytes())
        return f"{len(self.images)}-{found.hexdigest()[:16]}"

    @property
    def can_be_drawn(self) -> bool:
        """Whether they are images, not feature vectors."""
        return not isinstance(self.images, FeatureViews)

    def pixels(self, place: int) -> Shaped[np.ndarray, "3 H W"]:
        """Return an image in colour.

        Raises:
            UnreadableImageError: if it cannot be read any more.
        """
        if isinstance(self.images, InMemoryImages):
            image = self.images.images[place].numpy()
            return np.broadcast_to(image, (3, *image.shape[1:]))
        assert isinstance(self.images, StreamedImages)
        return read_image(self.places[place], 3, self.images.bits)


def given(wanted: Any, run: TrainedRun, workers: int, key: str = "images") -> Given:
    """Find images to score.

    Args:
        wanted: paths as for `find_files`; or an array as `TrainedRun.embed` takes it, or its path: an `.npy` file, or
            an `.npz` file that has an array `images` or, for a run on feature vectors, `features`.
        run: the run.
        workers: processes that decode image files.
        key: the option, for errors.

    Raises:
        UserError: if a path does not exist or cannot be read, there is no image, or the run cannot take what is there.
        ValueError: for an array of another shape, type or range.
    """
    if isinstance(wanted, Tensor | np.ndarray):
        images = in_memory(wanted, run)
        return Given(images, _rows("array", images), "the array")
    paths = path_list(wanted, key)
    arrays = [path for path in paths if path.lower().endswith((ARRAY, ARRAYS))]
    if arrays:
        if len(paths) > 1:
            raise UserError(
                f"{key} expects one array alone, got {arrays[0]} among {len(paths)} paths; score them apart."
            )
        return _array(Path(arrays[0]), run, key)
    if isinstance(run.preprocess, FirstView):
        raise UserError(
            f"the run was trained on feature vectors, got {key}={paths[0]}; give {key}=<name>.npy, or an .npz file "
            f"with an array {FEATURES}."
        )
    found, form = find_files(paths, key), image_form(run)
    if found.left_out:
        say_once(f"left out of {key}={paths[0]}: {found.left_out}")
    dark = find_dark(found.files) if form.bits is None else None
    if dark is not None:
        bits = dark.likely_bits
        say_once(
            f"the 16-bit images of {key}={paths[0]} {dark} and are read as dark, since the run was trained without "
            f"data.bits; if their values have {bits} bits, multiply them by {1 << 16 - bits}, or train with "
            f"data.bits={bits}"
        )
    files = StreamedImages(found.files, channels=form.channels, workers=workers, skip_unreadable=True, bits=form.bits)
    return Given(files, found.files, found.name, found.left_out)


def in_memory(images: Images, run: TrainedRun) -> InMemoryImages:
    """Return images in memory, or feature vectors, in the form of the run's images.

    If the run reads its images from files, views are cut from the images as they are, unless these are too small.

    Args:
        images: as for `TrainedRun.embed`.
        run: the run.

    Raises:
        ValueError: for another shape, type or range.
    """
    pixels = as_given(images, run.preprocess, "score")
    if isinstance(run.preprocess, FirstView):
        return FeatureViews(pixels[:, :, 0].movedim(1, 2).cpu())
    form, (height, width) = image_form(run), pixels.shape[2:]
    if pixels.shape[1] not in (1, 3, form.channels):
        raise ValueError(f"score expects images of 1 or 3 channels, (N, C, H, W), got shape {tuple(pixels.shape)}.")
    keep = not form.in_memory and min(height, width) >= run.preprocess.size
    if not keep or pixels.shape[1] != form.channels:
        pixels = converted(pixels.cpu(), form.channels, min(height, width) if keep else form.side)
    return InMemoryImages(pixels.cpu())


def image_form(run: TrainedRun) -> ImageForm:
    """Return the channels, the side and the range of values of a run's images, and whether they were in memory.

    Runs of earlier versions do not say whether they were in memory; it follows from the size.
    """
    side = run.image_size or run.preprocess.size
    held = side <= AllCuts.LARGEST_WHOLE if run.in_memory is None else run.in_memory
    return ImageForm(len(run.preprocess.normalize.mean), side, held, run.config.data.get("bits"))


def _array(path: Path, run: TrainedRun, key: str) -> Given:
    name = FEATURES if isinstance(run.preprocess, FirstView) else IMAGES
    array = read_arrays(path, (name,), f"give {key}=<another file>")[name]
    if not array.size:
        raise UserError(f"{key}={path} has no rows.")
    try:
        images = in_memory(array, run)
    except (TypeError, ValueError) as error:
        raise UserError(f"{key}={path}: {error}") from error
    return Given(images, _rows(str(path), images), name_of([str(path)]))


def _rows(path: str, images: ImageSet) -> FileNames:
    """Return a name for each row of an array."""
    return FileNames([f"{path}[{row}]" for row in range(len(images))])
