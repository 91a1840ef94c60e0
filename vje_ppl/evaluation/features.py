"""Features of a set of images: embeddings and posterior parameters, in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vje_ppl.amortized import AmortizedGuide
from vje_ppl.moments import moments


class Features(NamedTuple):
    """What an encoder and a guide make of N images; on the CPU, in float32.

    Attributes:
        images: which image of the set each row is, shape (N,).
        z: embeddings, shape (N, D).
        mean: means of the posterior's draws, shape (N, D): μ for the Normal guides, Monte Carlo for a flow.
        scale: their standard deviations, shape (N, D): σ for the Normal guides, Monte Carlo for a flow.
    """

    images: Int64[Tensor, " N"]
    z: Float[Tensor, "N D"]
    mean: Float[Tensor, "N D"]
    scale: Float[Tensor, "N D"]


@torch.no_grad()
def extract_features(guide: AmortizedGuide, batches: Iterable[tuple[Tensor, Tensor]]) -> Features:
    """Embed batches of (index, images) with the guide in evaluation mode; its mode is restored afterwards."""
    training = guide.training
    guide.eval()
    try:
        rows = []
        for index, images in batches:
            z = guide.embed(images)
            rows.append([index.cpu(), *(one.float().cpu() for one in (z, *moments(guide.infer(z))))])
    finally:
        guide.train(training)
    return Features(*(torch.cat(column) for column in zip(*rows, strict=True)))
