"""What the log density of a Student-t takes from its degrees of freedom alone."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from vje_ppl.distributions.log_gamma import finite_df, log_gamma_ratio


def tail(
    df: Float[Tensor, "*shape"], dim: int
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Return finite ν, the power (ν+k)/2 of the tail, and the log normalizer of a Student-t of k features at scale 1:

        log Γ((ν+k)/2) − log Γ(ν/2) − k/2 log(νπ)

    Args:
        df: degrees of freedom ν > 0; infinite is the Normal.
        dim: the number of features k, at least 1.

    Returns:
        Three tensors of the shape of `df`, the last in nats.

    Source: Kotz and Nadarajah, Multivariate t Distributions and Their Applications (2004), equation 1.1.
    """
    df = finite_df(df)
    half_df, half_dim = 0.5 * df, torch.full_like(df, 0.5 * dim)
    # k/2 log ν cancels against the ratio of gammas, so both are taken relative to (ν/2)^(k/2).
    log_normalizer = log_gamma_ratio(half_df, half_dim) - 0.5 * dim * math.log(2 * math.pi)
    return df, half_df + half_dim, log_normalizer
