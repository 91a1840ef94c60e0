"""The univariate Student-t, with a normalizer that keeps its digits at large ν."""

from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from vje_ppl.distributions.log_gamma import digamma_difference, finite_df, log_gamma_ratio
from vje_ppl.distributions.promoted import Parameter, promoted


class StudentT(dist.StudentT):
    """`pyro.distributions.StudentT`, stable in float32 up to the Gaussian limit, and at it.

        log p(x) = log Γ((ν+1)/2) − log Γ(ν/2) − ½ log(νπ) − log scale − (ν+1)/2 log(1 + ((x − loc)/scale)²/ν)

    The parent subtracts two log-gammas, which is wrong by 0.16 nats in float32 at ν = 1e6, and in the entropy by 7.8
    nats at ν = 1e8; and its draws are infinite where a chi-squared with small ν underflows.

    Base measure: Lebesgue on R, over which it integrates to one. On the positive half-line, where radii live, it
    integrates to less.

    Args:
        df: degrees of freedom ν > 0, shape (...); infinite is the Normal.
        loc: location, shape (...).
        scale: standard deviation of the Gaussian that the tail widens, positive, shape (...).

    Source: Kotz and Nadarajah, Multivariate t Distributions and Their Applications (2004), equation 1.1 at one
    dimension.

    Example:
        >>> StudentT(torch.inf, 0.0, 1.0).log_prob(torch.tensor(0.0))  # the Normal
        tensor(-0.9189)
    """

    def __init__(
        self,
        df: Parameter,
        loc: Parameter = 0.0,
        scale: Parameter = 1.0,
        validate_args: bool | None = None,
    ) -> None:
        super().__init__(*promoted(df, loc, scale), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> StudentT:
        """Return the same distribution with another batch shape; nothing is copied."""
        return super().expand(batch_shape, self._get_checked_instance(StudentT, _instance))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw loc + scale · x / sqrt(c/ν), x standard normal, c chi-squared(ν); shape sample_shape + (...)."""
        shape = self._extended_shape(torch.Size(sample_shape))
        normal = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        df = finite_df(self.df)
        mixing = (dist.Chi2(df).rsample(torch.Size(sample_shape)) / df).clamp_min(torch.finfo(df.dtype).tiny)
        return self.loc + self.scale * normal * mixing.rsqrt()

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density in nats of `value`, shape (...), over Lebesgue measure on R."""
        if self._validate_args:
            self._validate_sample(value)
        df = finite_df(self.df)
        half_df, half = 0.5 * df, torch.full_like(df, 0.5)
        log_normalizer = log_gamma_ratio(half_df, half) - 0.5 * math.log(2 * math.pi)
        squared = ((value - self.loc) / self.scale).square()
        return log_normalizer - self.scale.log() - (half_df + half) * torch.log1p(squared / df)

    def entropy(self) -> Tensor:
        """Return the entropy in nats, shape (...)."""
        df = finite_df(self.df)
        half_df, half = 0.5 * df, torch.full_like(df, 0.5)
        log_normalizer = log_gamma_ratio(half_df, half) - 0.5 * math.log(2 * math.pi)
        return self.scale.log() - log_normalizer + (half_df + half) * digamma_difference(half_df, half)

    @property
    def variance(self) -> Tensor:
        """The variance, shape (...): ν/(ν−2) · scale², infinite for 1 < ν ≤ 2, NaN for ν ≤ 1."""
        df = finite_df(self.df)
        return torch.where(df > 2, self.scale.square() * (df / (df - 2)), torch.where(df > 1, torch.inf, torch.nan))
