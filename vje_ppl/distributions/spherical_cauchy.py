"""The spherical Cauchy distribution on the unit sphere of any dimension."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.distributions.util import broadcast_shape
from torch import Tensor

from vje_ppl.distributions.promoted import Parameter, promoted
from vje_ppl.distributions.sphere import (
    checked_concentration,
    finite_nonnegative,
    from_versine,
    log_sphere_area,
    unit_ball,
    versine,
)
from vje_ppl.distributions.zonal_integral import zonal_moments


class SphericalCauchy(TorchDistribution):
    """The heavy-tailed density on the unit sphere of R^D that a Möbius map makes of the uniform one.

        log p(x) = log Γ(D/2) − log 2 − D/2 log π + (D−1) log[(1 − ρ²) / (1 + ρ² − 2ρ μ·x)]
                 = log Γ(D/2) − log 2 − D/2 log π + (D−1) [½ log(1 + 4κ) − log(1 + κ ‖x − μ‖²)],     κ = ρ/(1−ρ)²

    The published parameter is 0 ≤ ρ < 1. κ keeps the digits of 1 − ρ that a ρ near 1 has lost, and
    ρ = 4κ / (1 + √(1+4κ))². κ = 0 is uniform; the curvature of the log density at its mode is −2 (D−1) κ. It is
    `SphericalStudentT` with D − 2 degrees of freedom and scale 1/√(κ (D−2)), and at D = 2 the wrapped Cauchy.

    Base measure: the surface measure of the unit sphere, over which it integrates to one.

    Args:
        loc: unit vectors μ, shape (..., D), D ≥ 2. For the zero vector, which has no direction, the density is what it
            is at a right angle, wherever x is.
        concentration: finite κ ≥ 0, a number or a tensor of shape (...).

    Raises:
        ValueError: for fewer than two features, or a number κ that is not finite.

    Source: Kato and McCullagh, Some Properties of a Cauchy Family on the Sphere Derived from the Möbius Transformations
    (2020); κ is ours.
    """

    arg_constraints: ClassVar = {"loc": unit_ball, "concentration": finite_nonnegative}
    support = constraints.sphere
    has_rsample = True

    def __init__(self, loc: Parameter, concentration: Parameter, validate_args: bool | None = None) -> None:
        loc, concentration = promoted(loc, checked_concentration(concentration, "SphericalCauchy"))
        if loc.dim() < 1 or loc.shape[-1] < 2:
            raise ValueError(
                f"SphericalCauchy expects loc with a last dimension of two or more features, got shape "
                f"{tuple(loc.shape)}; the sphere of R^1 is two points."
            )
        batch_shape = torch.broadcast_shapes(loc.shape[:-1], concentration.shape)
        self.loc = loc.expand(batch_shape + loc.shape[-1:])
        self.concentration = concentration.expand(batch_shape)
        # The normalizer is computed at the shape that came in, not at the expanded one.
        self._unbroadcasted_concentration = concentration
        super().__init__(batch_shape, loc.shape[-1:], validate_args=validate_args)

    @staticmethod
    def infer_shapes(  # type: ignore[override] # Pyro's base class takes any names
        loc: tuple[int, ...], concentration: tuple[int, ...]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Batch and event shape from the shapes of the arguments, as Pyro's lazy shape inference asks."""
        return broadcast_shape(loc[:-1], concentration), loc[-1:]

    def expand(self, batch_shape: Any, _instance: Any = None) -> SphericalCauchy:
        """The same distribution with another batch shape; nothing is copied."""
        new = self._get_checked_instance(SphericalCauchy, _instance)
        batch_shape = torch.Size(batch_shape)
        new.loc = self.loc.expand(batch_shape + self.event_shape)
        new.concentration = self.concentration.expand(batch_shape)
        new._unbroadcasted_concentration = self._unbroadcasted_concentration
        super(SphericalCauchy, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density in nats of unit vectors, shape (..., D), over the area of the sphere; one number a vector."""
        if self._validate_args:
            self._validate_sample(value)
        dim = self.event_shape[0]
        log_ratio = 0.5 * (4 * self._unbroadcasted_concentration).log1p()
        log_ratio = log_ratio - (2 * self.concentration * versine(self.loc, value)).log1p()
        return (dim - 1) * log_ratio - log_sphere_area(dim)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw unit vectors, shape sample_shape + (..., D): the Möbius map of uniform ones. Gradients reach loc and κ.

        Around the location the map takes (1 − cosine)/2 from z to z / (1 + 4κ (1 − z)) and keeps the tangent. For a loc
        of zero the draws are uniform on the sphere, as the density is.

        Source: Kato and McCullagh (2020). z ~ Beta((D−1)/2, (D−1)/2) is drawn as a ratio of Gammas.
        """
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            half = torch.full_like(self.concentration, 0.5 * (shape[-1] - 1)).expand(shape[:-1])
            towards, away = torch.distributions.Gamma(half, 1.0, validate_args=False).sample((2,))
        share = away / (away + (1 + 4 * self.concentration) * towards)
        return from_versine(self.loc.expand(shape), 2 * share)

    @property
    def mean(self) -> Tensor:
        """The mean, shape (..., D), inside the sphere: m μ, with m the mean cosine; at D = 2 it is ρ."""
        mean_cosine, _, _ = self._moments()
        return mean_cosine.unsqueeze(-1) * self.loc

    @property
    def variance(self) -> Tensor:
        """Feature-wise variances, shape (..., D): v μ_j² + s (1 − μ_j²), of the cosine, and of one feature across."""
        _, along, across = self._moments()
        squared = self.loc.square()
        return along.unsqueeze(-1) * squared + across.unsqueeze(-1) * (1 - squared)

    def _moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """Its kernel is (1 + 4κ u)^(−(D−1)), with u = ‖x − μ‖²/4."""
        power = torch.full_like(self._unbroadcasted_concentration, self.event_shape[0] - 1.0)
        return zonal_moments(power, 4 * self._unbroadcasted_concentration, self.event_shape[0])
