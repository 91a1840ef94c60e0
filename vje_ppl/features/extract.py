"""Features of whole sets of images, in matrices that may be larger than memory."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float32, Int64, Shaped
from torch import Tensor

from vje_ppl.data.batches import evaluation_batches
from vje_ppl.data.feature_views import FeatureViews
from vje_ppl.data.image_set import ImageSet, InMemoryImages
from vje_ppl.data.preprocess import Normalize, Preprocess
from vje_ppl.errors import UserError
from vje_ppl.features.embedder import Embedder
from vje_ppl.features.shards import WHOLE, Shards
from vje_ppl.runs.files import explain


@dataclass(frozen=True, eq=False)
class Features:
    """Features of N images on the CPU.

    Attributes:
        images: the place in the set of each row's image, [N].
        by_name: matrices (N, ...) by kind of feature: `z`, `mu`, `pixels`.
    """

    images: Int64[Tensor, " N"]
    by_name: dict[str, Shaped[Tensor, "N ..."]]


@dataclass(frozen=True, eq=False)
class Representation:
    """One kind of features of labelled training images and of test images.

    Attributes:
        encoder: `trained`, `untrained`, or `none` for raw pixels.
        name: `z`, `mu` or `pixels`.
        bank: features of the training images, [M, ...].
        bank_labels: their classes, [M].
        test: features of the test images, [N, ...].
        test_labels: their classes, [N].
    """

    encoder: str
    name: str
    bank: Shaped[Tensor, "M ..."]
    bank_labels: Int64[Tensor, " M"]
    test: Shaped[Tensor, "N ..."]
    test_labels: Int64[Tensor, " N"]

    @property
    def label(self) -> str:
        """A description in words."""
        return "raw pixels" if self.encoder == "none" else f"{self.encoder} {self.name}"

    @property
    def row(self) -> dict[str, str]:
        """A description as columns of a table."""
        return {"encoder": self.encoder, "features": self.name}


def extract(
    embedder: Embedder,
    batches: Iterable[tuple[Tensor, Tensor]],
    most: int,
    memory_mb: float = math.inf,
    folder: Path = Path(),
    shards: Shards = WHOLE,
) -> Features:
    """Embed batches of (index, prepared images).

    Args:
        embedder: embeds them.
        batches: the images, each once; this process's share of them.
        most: largest number of images in the batches of all processes.
        memory_mb: megabytes of features to hold in memory; larger sets lie in a nameless file.
        folder: where such a file lies.
        shards: the processes that share the images.

    Returns:
        The features of all images in the first process, of none in the others.
    """
    room = most if shards.is_first else 0
    matrices = {name: stored_rows(room, embedder.dim, memory_mb, folder) for name in embedder.feature_names}
    images, count = torch.empty(room, dtype=torch.int64), 0
    for index, found in shards.gathered((index, embedder.features(prepared)) for index, prepared in batches):
        rows = slice(count, count + len(index))
        images[rows] = index
        for name, values in found.items():
            matrices[name][rows] = values
        count += len(index)
    return Features(images[:count], {name: matrix[:count] for name, matrix in matrices.items()})


def stored_rows(count: int, dim: int, memory_mb: float, folder: Path) -> Float32[Tensor, "count dim"]:
    """Make a matrix to fill: in memory or, if that takes more than allowed, in a file that the system pages in and out.

    The file has no name when this returns, so nothing is left of it however the process ends.

    Args:
        count: rows.
        dim: columns.
        memory_mb: megabytes allowed in memory.
        folder: where a file may lie.

    Returns:
        An ordinary float32 tensor on the CPU, of unspecified content.

    Raises:
        UserError: if the file cannot be made.
    """
    if 4 * count * dim <= memory_mb * 1e6:
        return torch.empty(count, dim)
    try:
        with tempfile.NamedTemporaryFile(prefix=".features-", dir=folder) as file:
            return torch.from_file(file.name, shared=True, size=count * dim, dtype=torch.float32).view(count, dim)
    except (OSError, RuntimeError) as error:
        reason = explain(error) if isinstance(error, OSError) else str(error).splitlines()[0]
        raise UserError(
            f"The features of {count} images need {4 * count * dim / 1e9:.1f} GB, which {folder} cannot hold "
            f"({reason}); free space there, or keep them in memory with a larger features_mb."
        ) from error


#: Larger images are resized to this side, in pixels.
PIXEL_SIDE = 32
_BATCH = 256


def raw_pixels(
    images: ImageSet, image_size: int, shards: Shards = WHOLE
) -> tuple[Int64[Tensor, " N"], Shaped[Tensor, "N C S S"]]:
    """Return the image of each row, and its pixels as bytes on the CPU: the central square, resized if it is too large.

    Images in memory and from files give the same result. Of feature vectors, the first of each image is returned.

    Args:
        images: the images.
        image_size: side in pixels of the data set's images; S = min(image_size, 32).
        shards: the processes that share the reading; only the first gets images that are read or resized.
    """
    if isinstance(images, FeatureViews):
        return torch.arange(len(images)), images.images[..., :1].cpu()
    side = min(image_size, PIXEL_SIDE)
    if isinstance(images, InMemoryImages) and images.images.shape[2:] == (side, side):
        return torch.arange(len(images)), images.images.cpu()
    preprocess = Preprocess(side, 1.0, Normalize([0.0], [1.0], images.channels))
    batches = evaluation_batches(
        images, preprocess, batch_size=_BATCH, device=torch.device("cpu"), share=shards.share()
    )
    parts = ((index, {"pixels": (255 * view).round().to(torch.uint8).contiguous()}) for index, view in batches)
    rows = [(index, found["pixels"]) for index, found in shards.gathered(parts)]
    if not rows:
        return torch.empty(0, dtype=torch.int64), torch.empty(0, images.channels, side, side, dtype=torch.uint8)
    index, pixels = zip(*rows, strict=True)
    return torch.cat(index), torch.cat(pixels)
