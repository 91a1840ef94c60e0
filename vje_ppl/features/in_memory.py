"""Features of a set of images: embeddings and, where there is a posterior, its moments, in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vje_ppl.features.shards import WHOLE, Part, Shards
from vje_ppl.methods.method import Method
from vje_ppl.program.moments import moments


class Features(NamedTuple):
    """What a method makes of N images; on the CPU, in float32.

    Attributes:
        images: which image of the set each row is, shape (N,).
        z: embeddings, shape (N, D).
        mean: means of the posterior's draws, shape (N, D): μ for the Normal guides, Monte Carlo for a flow;
            None for a method without a posterior.
        scale: their standard deviations, shape (N, D): σ for the Normal guides, Monte Carlo for a flow.
    """

    images: Int64[Tensor, " N"]
    z: Float[Tensor, "N D"]
    mean: Float[Tensor, "N D"] | None = None
    scale: Float[Tensor, "N D"] | None = None


@torch.no_grad()
def extract_features(
    module: Method, batches: Iterable[tuple[Tensor, Tensor]], shards: Shards = WHOLE
) -> Features | None:
    """Embed batches of (index, images) with the module in evaluation mode; its mode is restored afterwards.

    Args:
        module: what embeds them.
        batches: the images, each once; this process's share of them.
        shards: the processes that share them.

    Returns:
        The features of all images in the first process, None in the others.
    """
    training, program = module.training, module.program
    module.eval()
    try:
        rows = [(index, *found.values()) for index, found in shards.gathered(_embedded(module, program, batches))]
    finally:
        module.train(training)
    return Features(*(torch.cat(column) for column in zip(*rows, strict=True))) if shards.is_first else None


def _embedded(module: Method, program: Any, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[Part]:
    for index, images in batches:
        z = module.embed(images)
        found = () if program is None else moments(program.guide.infer(z))
        yield index, {place: one.float() for place, one in enumerate((z, *found))}
