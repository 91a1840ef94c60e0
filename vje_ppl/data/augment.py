"""Random views of a batch of images, made on the device in a handful of batched operations.

A view is made in four steps: cut a random box and resize it (`geometry`), map its colours (`color`), filter it
(`filters`), normalize. Every step is composed of transforms that a recipe lists by name. However many box and colour
transforms there are, each of these two steps is one batched product.

On one CPU core (AMD EPYC, 2.6 GHz) SimCLR views of 256 images of 32×32 pixels take 0.02 ms each; the same recipe takes
0.13 ms with kornia 0.9 in batches and 0.86 ms with torchvision image by image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from vje_ppl.data.image_set import ImageSet
from vje_ppl.data.preprocess import Normalize, Preprocess, check_image_size
from vje_ppl.data.transfer import to_device
from vje_ppl.data.transforms.color_map import ColorMap
from vje_ppl.data.transforms.interfaces import BoxTransform, ColorTransform, Filter
from vje_ppl.data.transforms.resample import cut_and_resize
from vje_ppl.errors import UserError
from vje_ppl.parallel.randomness import Stream, keyed_generator

#: Bytes of views in float32 that a CPU finishes at a time: eight views of 224 pixels.
_CACHE = 5_000_000


@dataclass(frozen=True)
class ViewKey:
    """Which view of which images: with the images themselves it determines the result.

    Attributes:
        seed: the run's seed.
        step: the global step.
        view: the view's number.
        rows: the rows of the images in the global batch.
        batch_size: the size of the global batch.
    """

    seed: int
    step: int
    view: int
    rows: slice
    batch_size: int


class Augment:
    """A recipe for random views of images with a known number of channels.

    Args:
        geometry: where a view is cut, by name, applied in order; empty: the whole image.
        color: how colours change, by name, applied in order.
        filters: filters of the result, by name, applied in order.
        mean: per-channel mean to subtract, on the scale of 0 (black) to 1 (white).
        std: per-channel standard deviation to divide by, on the same scale.
        channels: number of channels of the images.
        image_size: default side of a view in pixels, used if `size` is None.
        size: side of a view in pixels.
        center_fraction: share of the shorter side that `evaluation` keeps, in (0, 1].
        channels_last: whether views have the channels-last memory format; otherwise they are contiguous.

    Attributes:
        evaluation: the deterministic preparation that matches the views.
    """

    def __init__(
        self,
        *,
        geometry: Mapping[str, BoxTransform],
        color: Mapping[str, ColorTransform],
        filters: Mapping[str, Filter],
        mean: Sequence[float],
        std: Sequence[float],
        channels: int,
        image_size: int,
        size: int | None = None,
        center_fraction: float = 1.0,
        channels_last: bool = True,
    ) -> None:
        if size is not None and size < 1:
            raise UserError(f"augment.size must be at least 1 pixel, got {size}.")
        if not 0 < center_fraction <= 1:
            raise UserError(f"augment.center_fraction must lie in (0, 1], got {center_fraction}.")
        kinds = {"geometry": (geometry, BoxTransform), "color": (color, ColorTransform), "filters": (filters, Filter)}
        for name, (transforms, kind) in kinds.items():
            odd = next((key for key, one in transforms.items() if not isinstance(one, kind)), None)
            if odd is not None:
                raise UserError(
                    f"augment.{name}.{odd} expects a {kind.__name__} from vje_ppl.data.transforms, got "
                    f"{type(transforms[odd]).__name__}."
                )
        self.size = image_size if size is None else size
        self.channels = channels
        self._geometry = tuple(geometry.values())
        self._color = tuple(color.values())
        self._filters = tuple(filters.values())
        self._normalize = Normalize(mean, std, channels, channels_last)
        self.evaluation = Preprocess(self.size, center_fraction, self._normalize)

    def most_views(self, images: ImageSet) -> float:
        """Return how many different views an image of a set can have."""
        return math.inf

    def draw_boxes(self, rng: np.random.Generator, count: int, height: int, width: int) -> Float64[np.ndarray, "N 4"]:
        """Draw where to cut `count` images of one size: top, left, height, width; negative: read backwards."""
        boxes = np.tile(np.array([0, 0, height, width], dtype=np.float64), (count, 1))
        for transform in self._geometry:
            boxes = transform(rng, boxes)
        return boxes

    def view(self, images: UInt8[Tensor, "n C H W"], key: ViewKey) -> Float[Tensor, "n C size size"]:
        """Make one view of each image of a batch.

        Args:
            images: pixel values 0 to 255 of the rows that `key` names, [n, C, H, W].
            key: which view this is.

        Returns:
            Normalized views, [n, C, size, size].

        Raises:
            UserError: if the images are smaller than the views.
        """
        height, width = images.shape[2:]
        check_image_size(height, width, self.size)
        pixels = images.float()
        if self._geometry or (height, width) != (self.size, self.size):
            rng = keyed_generator(Stream.BATCH_BOXES, key.seed, key.step, key.view)
            boxes = self.draw_boxes(rng, key.batch_size, height, width)[key.rows].astype(np.float32)
            pixels = cut_and_resize(pixels, to_device(boxes, images.device), self.size)
        return self.finish(pixels, key)

    def finish(
        self, pixels: Float[Tensor, "n C size size"] | UInt8[Tensor, "n C size size"], key: ViewKey
    ) -> Float[Tensor, "n C size size"]:
        """Do everything but the geometry, for cuts with values of 0 to 255; otherwise as `view`."""
        rng = keyed_generator(Stream.APPEARANCE, key.seed, key.step, key.view)
        color = ColorMap.identity(key.batch_size, self.channels)
        for transform in self._color:
            color = color.then(transform.draw(rng, key.batch_size, self.channels))
        shape = (key.batch_size, self.channels, self.size, self.size)
        draws = [pixel_filter.draw(rng, shape) for pixel_filter in self._filters]

        color, draws = color.rows(key.rows), [drawn[key.rows] for drawn in draws]
        views = torch.empty(pixels.shape, device=pixels.device, memory_format=self._normalize.memory_format)
        for some in self._in_cache(pixels):
            images = color.rows(some).apply(pixels[some].float())
            for pixel_filter, drawn in zip(self._filters, draws, strict=True):
                images = pixel_filter.apply(images, drawn[some])
            self._normalize(images, out=views[some])
        return views

    def _in_cache(self, pixels: Tensor) -> list[slice]:
        """Return slices of all rows; on a CPU, each fits the cache, which halves the time for large views."""
        count, bytes_each = len(pixels), 4 * pixels[0].numel()
        at_once = max(1, _CACHE // bytes_each) if pixels.device.type == "cpu" else count
        return [slice(start, start + at_once) for start in range(0, count, at_once)]
