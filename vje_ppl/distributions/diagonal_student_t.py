"""The multivariate Student-t with a diagonal scale matrix, at O(D) cost."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pyro.distributions import Chi2
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.distributions.util import broadcast_shape
from torch import Tensor
from torch.distributions import constraints

from vje_ppl.distributions.log_gamma import finite_df
from vje_ppl.distributions.of_constant import of_constant
from vje_ppl.distributions.promoted import Parameter, promoted
from vje_ppl.distributions.tail import tail


class DiagonalStudentT(TorchDistribution):
    """Multivariate Student-t with scale matrix diag(scale²).

        log p(x) = log Γ((ν+D)/2) − log Γ(ν/2) − D/2 log(νπ) − Σ_j log scale_j − (ν+D)/2 log(1 + m/ν),
        m = Σ_j ((x_j − loc_j) / scale_j)²

    One Mahalanobis term couples the features: they share the heavy tail. For independent features use
    `StudentT(...).to_event(1)`. `pyro.distributions.MultivariateStudentT` is the same density with a dense
    `scale_tril`, at O(D²) cost.

    Base measure: Lebesgue on R^D, over which it integrates to one. On a subset of R^D, such as the unit sphere, it does
    not.

    Args:
        df: degrees of freedom ν > 0, a number or a tensor of shape (...); infinite is the Normal.
        loc: location, shape (..., D).
        scale: standard deviations of the Gaussian that the tail widens, positive, shape (..., D). The covariance is
            ν/(ν−2) · scale², and infinite for ν ≤ 2.

    Source: Kotz and Nadarajah, Multivariate t Distributions and Their Applications (2004), equation 1.1.

    Example:
        >>> density = DiagonalStudentT(1.0, torch.zeros(3), torch.tensor([1.0, 0.5, 0.1]))
        >>> density.log_prob(torch.zeros(3)), density.sample((5,)).shape
        (tensor(0.7063), torch.Size([5, 3]))
    """

    arg_constraints: ClassVar = {
        "df": constraints.positive,
        "loc": constraints.real_vector,
        "scale": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, df: Parameter, loc: Parameter, scale: Parameter, validate_args: bool | None = None) -> None:
        df, loc, scale = promoted(df, loc, scale)
        if loc.dim() < 1 or scale.dim() < 1:
            raise ValueError(
                f"DiagonalStudentT expects loc and scale with a last dimension of features, got shapes "
                f"{tuple(loc.shape)} and {tuple(scale.shape)}; unsqueeze a scalar to one feature."
            )
        batch_shape = torch.broadcast_shapes(df.shape, loc.shape[:-1], scale.shape[:-1])
        event_shape = torch.broadcast_shapes(loc.shape[-1:], scale.shape[-1:])
        self.df = df.expand(batch_shape)
        self.loc = loc.expand(batch_shape + event_shape)
        self.scale = scale.expand(batch_shape + event_shape)
        # The normalizer and the sum of log-scales are computed at the parameters' shapes, not at the expanded shapes.
        self._unbroadcasted_df = df
        self._unbroadcasted_scale = scale
        super().__init__(batch_shape, event_shape, validate_args=validate_args)

    @staticmethod
    def infer_shapes(  # type: ignore[override] # Pyro's base class takes any names
        df: tuple[int, ...], loc: tuple[int, ...], scale: tuple[int, ...]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return batch and event shape from the shapes of the arguments, for Pyro's lazy shape inference."""
        return broadcast_shape(df, loc[:-1], scale[:-1]), broadcast_shape(loc[-1:], scale[-1:])

    def expand(self, batch_shape: Any, _instance: Any = None) -> DiagonalStudentT:
        """Return the same distribution with another batch shape; nothing is copied."""
        new = self._get_checked_instance(DiagonalStudentT, _instance)
        batch_shape = torch.Size(batch_shape)
        new.df = self.df.expand(batch_shape)
        new.loc = self.loc.expand(batch_shape + self.event_shape)
        new.scale = self.scale.expand(batch_shape + self.event_shape)
        new._unbroadcasted_df = self._unbroadcasted_df
        new._unbroadcasted_scale = self._unbroadcasted_scale
        super(DiagonalStudentT, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw loc + scale · x / sqrt(c/ν), x standard normal, c chi-squared(ν); shape sample_shape + (..., D).

        Gradients reach loc, scale and df.
        """
        shape = self._extended_shape(torch.Size(sample_shape))
        normal = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        # A chi-squared with small ν can underflow to zero; avoid 1/0.
        df = finite_df(self.df)
        mixing = (Chi2(df).rsample(torch.Size(sample_shape)) / df).clamp_min(torch.finfo(df.dtype).tiny)
        return self.loc + self.scale * normal * mixing.rsqrt().unsqueeze(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density in nats of `value`, shape (..., D), over Lebesgue measure on R^D; shape (...)."""
        if self._validate_args:
            self._validate_sample(value)
        dim = self.event_shape[0]
        df, power, log_normalizer = of_constant(tail, self._unbroadcasted_df, dim)
        log_scale = self._unbroadcasted_scale.log().sum(-1) * (dim // self._unbroadcasted_scale.shape[-1])
        standardized = (value - self.loc) / self.scale
        squared = torch.linalg.vecdot(standardized, standardized)
        return log_normalizer - log_scale - power * torch.log1p(squared / df)

    @property
    def mean(self) -> Tensor:
        """The mean, shape (..., D): loc, and NaN where ν ≤ 1 and it does not exist."""
        return torch.where((self.df > 1).unsqueeze(-1), self.loc, torch.nan)

    @property
    def variance(self) -> Tensor:
        """Feature-wise variances, shape (..., D): ν/(ν−2) · scale², infinite for 1 < ν ≤ 2, NaN for ν ≤ 1."""
        df = finite_df(self.df).unsqueeze(-1)
        finite = self.scale.square() * (df / (df - 2))
        return torch.where(df > 2, finite, torch.where(df > 1, torch.inf, torch.nan))
