"""Raw pixels as features, a baseline for embeddings."""

from __future__ import annotations

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from vje_ppl.data.batches import evaluation_batches
from vje_ppl.data.image_set import ImageSet, InMemoryImages
from vje_ppl.data.preprocess import Normalize, Preprocess
from vje_ppl.features.shards import WHOLE, Shards

#: Larger images are resized to this side, in pixels.
PIXEL_SIDE = 32
_BATCH = 256


def raw_pixels(
    images: ImageSet, image_size: int, shards: Shards = WHOLE
) -> tuple[Int64[Tensor, " N"], UInt8[Tensor, "N C S S"]]:
    """The image of each row, and its pixels as bytes on the CPU: the central square, resized if it is too large.

    Images in memory and from files give the same result.

    Args:
        images: the images.
        image_size: side in pixels of the data set's images; S = min(image_size, 32).
        shards: the processes that share the reading; only the first gets images that are read or resized.
    """
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
