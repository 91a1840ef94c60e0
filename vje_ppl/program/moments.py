"""Means and standard deviations of posteriors' draws; for a flow, they differ from `scale`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

#: Draws behind `monte_carlo_moments`: half of them free, half their mirror images.
DRAWS = 128

#: How many of them are in memory at a time.
_CHUNK = 16


def moments(posterior: Any) -> tuple[Float[Tensor, "*batch D"], Float[Tensor, "*batch D"]]:
    """Return the mean and standard deviation of a posterior's draws, feature by feature.

    Args:
        posterior: the result of a guide's `infer`. Its method `moments()` is used if it has one; otherwise its `mean`
            and `scale` are the moments of its draws.

    Returns:
        Two tensors of shape (..., D), in units of the embedding.
    """
    if hasattr(posterior, "moments"):
        return posterior.moments()
    return posterior.mean, posterior.scale


def monte_carlo_moments(
    draw: Callable[[Tensor], Tensor], around: Float[Tensor, "*batch D"], draws: int = DRAWS
) -> tuple[Float[Tensor, "*batch D"], Float[Tensor, "*batch D"]]:
    """Return moments of `draw(ε)`, ε standard normal, from fixed ε: the same for all images, runs and devices.

    It changes neither the global random state nor the noise of training, and an image's moments do not depend on the
    images beside it. The draws are antithetic, ε and −ε, so that the mean is exact where the posterior is symmetric.

    With σ the standard deviation that is estimated and K draws, the standard error of the mean is at most σ sqrt(2/K)
    (12.5 % of σ at K = 128) and 0 for a symmetric posterior; that of the standard deviation is at most
    σ sqrt((κ − 1)/(2 K)), with κ the kurtosis (8.8 % of σ at K = 128 for a Normal, where κ = 3).

    Args:
        draw: maps noise of shape (k, ..., D), or of a shape that broadcasts to it, to draws (k, ..., D).
        around: the point from which deviations are measured, near the mean, shape (..., D).
        draws: K, even and at least 2.

    Returns:
        Mean and standard deviation, each (..., D).

    Raises:
        ValueError: if K is odd or below 2.

    Source: ours.
    """
    if draws < 2 or draws % 2:
        raise ValueError(f"monte_carlo_moments expects an even number of at least 2 draws, got {draws}.")
    dim = around.shape[-1]
    noise = _antithetic(draws, dim).to(around).view(draws, *[1] * (around.dim() - 1), dim)
    total, squares = torch.zeros_like(around), torch.zeros_like(around)
    for chunk in noise.split(_CHUNK):
        deviation = draw(chunk) - around
        total, squares = total + deviation.sum(0), squares + deviation.square().sum(0)
    shift = total / draws
    variance = (squares / draws - shift.square()).clamp_min(0)
    return around + shift, variance.sqrt()


@cache
def _antithetic(draws: int, dim: int) -> Float64[Tensor, "draws D"]:
    half = torch.randn(draws // 2, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    half = half / half.square().mean(0).sqrt()
    return torch.cat([half, -half])
