"""Scales for the radius of a polar likelihood, from the direction ŝ of the latent and the shared scale."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vje_ppl.program.polar import SMALLEST_RADIUS


def unit(direction: Float[Tensor, "*draws D"], scale: Float[Tensor, "*batch D"]) -> Float[Tensor, "*draws"]:
    """Return a constant scale of 1, in units of the embedding. Ours.

    Args:
        direction: unit vectors ŝ, shape (..., D), with a leading dimension for several particles.
        scale: standard deviations, shape (..., D).

    Returns:
        Ones, shape (...).
    """
    return direction.new_ones(direction.shape[:-1])


def projected(direction: Float[Tensor, "*draws D"], scale: Float[Tensor, "*batch D"]) -> Float[Tensor, "*draws"]:
    """Return the standard deviation along ŝ for standard deviations of features: `sqrt(Σ_j ŝ_j² σ_j²)`. Ours.

    Args:
        direction: unit vectors ŝ, shape (..., D), with a leading dimension for several particles.
        scale: standard deviations σ, shape (..., D).

    Returns:
        Scales in units of the embedding, shape (...); positive wherever ŝ is not zero.
    """
    return torch.linalg.vector_norm(direction * scale, dim=-1).clamp_min(SMALLEST_RADIUS)
