"""Gradient accumulation: the terms of a batch, combined from those of its parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from vje_ppl.errors import UserError
from vje_ppl.methods.method import Method, Terms


class AccumulatedTerms:
    """The `Terms` of a batch whose parts, of equal size, went through the network one after the other.

    Loss and scalars are averaged over the parts; embeddings and scales are concatenated in order. Parts are detached as
    they are added, which frees the memory of their backward pass. Nothing waits for the device.

    Args:
        first: what the method returned for the first part, after its backward pass.

    Source: ours.
    """

    def __init__(self, first: Terms) -> None:
        self._losses: list[Tensor] = []
        self._embeddings: list[Tensor] = []
        self._scales: list[Tensor] = []
        self._scalars: list[dict[str, Tensor]] = []
        self._checked: list[dict[str, Tensor]] = []
        self.add(first)

    def add(self, part: Terms) -> None:
        """Add what the method returned for the next part."""
        self._losses.append(part.loss.detach())
        self._embeddings.append(part.embeddings.detach())
        scale = getattr(part, "scale", None)
        if scale is not None:
            self._scales.append(scale.detach())
        with torch.no_grad():
            self._scalars.append({name: value.detach() for name, value in part.scalars().items()})
            self._checked.append({name: value.sum() for name, value in part.checked().items()})

    @property
    def loss(self) -> Float[Tensor, ""]:
        """The mean over all images."""
        return torch.stack(self._losses).mean()

    @property
    def embeddings(self) -> Float[Tensor, "views N D"]:
        """Embeddings z of all images, one or more times each."""
        return torch.cat(self._embeddings, dim=1)

    @property
    def scale(self) -> Float[Tensor, "pairs N D"]:
        """Scales of the posteriors of all images, of a method that has posteriors."""
        return torch.cat(self._scales, dim=1)

    def scalars(self) -> dict[str, Tensor]:
        """Return means over all images, by the name of their column."""
        return {name: torch.stack([one[name] for one in self._scalars]).mean() for name in self._scalars[0]}

    def checked(self) -> dict[str, Tensor]:
        """Return the sum over each part, shape (parts,), of each quantity that has to stay finite."""
        return {name: torch.stack([one[name] for one in self._checked]) for name in self._checked[0]}


def parts_of(views: Sequence[Tensor], count: int) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
    """Cut a batch of views into parts of equally many images.

    Args:
        views: V batches, each (n, C, H, W).
        count: number of parts, which divides n.

    Yields:
        The first row of a part, and its views, V times (n / count, C, H, W).
    """
    images = len(views[0]) // count
    for part in range(count):
        yield part * images, tuple(view[part * images : (part + 1) * images] for view in views)


def check_accumulation(accumulate: int, batch_size: int, world_size: int, method: Method) -> None:
    """Refuse a division of the batch that would change the step.

    Args:
        accumulate: parts of a step.
        batch_size: images of a step.
        world_size: processes that share the step.
        method: the trained method.

    Raises:
        UserError: if the batch does not divide, or if the method compares the images of a batch with each other.
    """
    if accumulate == 1:
        return
    if method.min_batch_size > 1:
        raise UserError(
            f"{type(method).__name__} compares the images of a batch with each other, so gradients of parts of the "
            f"batch do not add up to that of the whole; use trainer.accumulate=1 with it, and a smaller batch_size if "
            f"memory is short."
        )
    parts = accumulate * world_size
    if batch_size % parts:
        nearest = max(1, batch_size // parts) * parts
        raise UserError(
            f"batch_size={batch_size} is split among {world_size} process(es) with trainer.accumulate="
            f"{accumulate} parts each, and must be a multiple of {parts}; try batch_size={nearest}."
        )
