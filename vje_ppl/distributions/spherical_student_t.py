"""The isotropic Student-t restricted to the unit sphere, and normalized there."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.distributions.util import broadcast_shape
from torch import Tensor

from vje_ppl.distributions.log_gamma import finite_df
from vje_ppl.distributions.promoted import Parameter, promoted
from vje_ppl.distributions.sphere import from_versine, unit_ball, versine
from vje_ppl.distributions.zonal_integral import draw_share, log_kernel, log_zonal_integral, zonal_moments


class SphericalStudentT(TorchDistribution):
    """The density on the unit sphere of R^D that is proportional to the isotropic Student-t with `loc` on the sphere.

        log p(x) = −(ν+D)/2 log(1 + ‖x − μ‖²/(νσ²)) − log ∫ (1 + ‖y − μ‖²/(νσ²))^(−(ν+D)/2) dy

    with the integral over the sphere, |S^(D−2)| 2^(D−2) B(h, h) ₂F₁((ν+D)/2, h; 2h; −4/(νσ²)) for h = (D−1)/2. It is
    `DiagonalStudentT` less the logarithm of what that integrates to on the sphere. For ν → ∞ it is the von Mises-Fisher
    of concentration 1/σ², at ν = D − 2 the spherical Cauchy; for large σ it is uniform. For small σ it is a Student-t
    on the tangent space, of D − 1 features, with ν + 1 degrees of freedom and scale σ √(ν/(ν+1)).

    Base measure: the surface measure of the unit sphere, over which it integrates to one.

    Args:
        df: degrees of freedom ν > 0, a number or a tensor of shape (...); infinite is the von Mises-Fisher.
        loc: unit vectors μ, shape (..., D), D ≥ 2. For the zero vector, which has no direction, the density at any x is
            that at a right angle.
        scale: σ > 0, a number or a tensor of shape (...): one for all features. The curvature of the log density at its
            mode is −(1 + D/ν)/σ².

    Raises:
        ValueError: for fewer than two features.

    Source: ours, from Kotz and Nadarajah, Multivariate t Distributions and Their Applications (2004), equation 1.1.
    """

    arg_constraints: ClassVar = {"df": constraints.positive, "loc": unit_ball, "scale": constraints.positive}
    support = constraints.sphere
    has_rsample = False

    def __init__(self, df: Parameter, loc: Parameter, scale: Parameter, validate_args: bool | None = None) -> None:
        df, loc, scale = promoted(df, loc, scale)
        if loc.dim() < 1 or loc.shape[-1] < 2:
            raise ValueError(
                f"SphericalStudentT expects loc with a last dimension of two or more features, got shape "
                f"{tuple(loc.shape)}; the sphere of R^1 is two points."
            )
        batch_shape = torch.broadcast_shapes(df.shape, loc.shape[:-1], scale.shape)
        self.df, self.scale = df.expand(batch_shape), scale.expand(batch_shape)
        self.loc = loc.expand(batch_shape + loc.shape[-1:])
        # The normalizer is computed at the parameters' shapes, not at the expanded shapes.
        self._unbroadcasted_df, self._unbroadcasted_scale = finite_df(df), scale
        super().__init__(batch_shape, loc.shape[-1:], validate_args=validate_args)

    @staticmethod
    def infer_shapes(  # type: ignore[override] # Pyro's base class takes any names
        df: tuple[int, ...], loc: tuple[int, ...], scale: tuple[int, ...]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return batch and event shape from the shapes of the arguments, for Pyro's lazy shape inference."""
        return broadcast_shape(df, loc[:-1], scale), loc[-1:]

    def expand(self, batch_shape: Any, _instance: Any = None) -> SphericalStudentT:
        """Return the same distribution with another batch shape; nothing is copied."""
        new = self._get_checked_instance(SphericalStudentT, _instance)
        batch_shape = torch.Size(batch_shape)
        new.df, new.scale = self.df.expand(batch_shape), self.scale.expand(batch_shape)
        new.loc = self.loc.expand(batch_shape + self.event_shape)
        new._unbroadcasted_df, new._unbroadcasted_scale = self._unbroadcasted_df, self._unbroadcasted_scale
        super(SphericalStudentT, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density in nats of unit vectors, shape (..., D), over the sphere's area; shape (...)."""
        if self._validate_args:
            self._validate_sample(value)
        power, rate = self._power_and_rate()
        log_integral, mode = log_zonal_integral(power, rate, self.event_shape[0])
        return log_kernel(power, rate, 0.5 * versine(self.loc, value), mode) - log_integral

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw unit vectors, shape sample_shape + (..., D), without gradients: a cosine, then a random tangent.

        For a loc of zero the draws are uniform on the sphere, as the density is.
        """
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            share = draw_share(*self._power_and_rate(), shape[-1], shape[:-1])
            return from_versine(self.loc.expand(shape), 2 * share)

    @property
    def mean(self) -> Tensor:
        """The mean, shape (..., D), inside the sphere: m μ, with m the mean cosine. It exists for every ν."""
        mean_cosine, _, _ = zonal_moments(*self._power_and_rate(), self.event_shape[0])
        return mean_cosine.unsqueeze(-1) * self.loc

    @property
    def variance(self) -> Tensor:
        """Feature-wise variances, shape (..., D): v μ_j² + s (1 − μ_j²), of the cosine, and of one feature across."""
        _, along, across = zonal_moments(*self._power_and_rate(), self.event_shape[0])
        squared = self.loc.square()
        return along.unsqueeze(-1) * squared + across.unsqueeze(-1) * (1 - squared)

    def _power_and_rate(self) -> tuple[Tensor, Tensor]:
        """Return power and rate of the kernel (1 + c u)^(−a), with u = ‖x − μ‖²/4."""
        df, scale = self._unbroadcasted_df, self._unbroadcasted_scale
        return 0.5 * (df + self.event_shape[0]), 4 / (df * scale.square())
