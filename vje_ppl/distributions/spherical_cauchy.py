"""The spherical Cauchy distribution on the unit sphere of any dimension."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vje_ppl.distributions.sphere import ZonalDistribution, from_versine, log_sphere_area, versine
from vje_ppl.distributions.zonal_integral import zonal_moments


class SphericalCauchy(ZonalDistribution):
    """The heavy-tailed density on the unit sphere of R^D that is a Möbius map of the uniform density.

        log p(x) = log Γ(D/2) − log 2 − D/2 log π + (D−1) log[(1 − ρ²) / (1 + ρ² − 2ρ μ·x)]
                 = log Γ(D/2) − log 2 − D/2 log π + (D−1) [½ log(1 + 4κ) − log(1 + κ ‖x − μ‖²)],     κ = ρ/(1−ρ)²

    The published parameter is 0 ≤ ρ < 1. κ keeps the digits of 1 − ρ that a ρ near 1 has lost, and
    ρ = 4κ / (1 + √(1+4κ))². κ = 0 is uniform; the curvature of the log density at its mode is −2 (D−1) κ. It is
    `SphericalStudentT` with D − 2 degrees of freedom and scale 1/√(κ (D−2)), and at D = 2 the wrapped Cauchy.

    Base measure: the surface measure of the unit sphere, over which it integrates to one.

    Args:
        loc: unit vectors μ, shape (..., D), D ≥ 2. For the zero vector, which has no direction, the density at any x
            is that at a right angle to a location.
        concentration: finite κ ≥ 0, a number or a tensor of shape (...).

    Raises:
        ValueError: for fewer than two features, or a number κ that is not finite.

    Source: Kato and McCullagh, Some Properties of a Cauchy Family on the Sphere Derived from the Möbius Transformations
    (2020); κ is ours.
    """

    has_rsample = True

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density in nats of unit vectors, shape (..., D), over the sphere's area; shape (...)."""
        if self._validate_args:
            self._validate_sample(value)
        dim = self.event_shape[0]
        log_ratio = 0.5 * (4 * self._unbroadcasted_concentration).log1p()
        log_ratio = log_ratio - (2 * self.concentration * versine(self.loc, value)).log1p()
        return (dim - 1) * log_ratio - log_sphere_area(dim)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw unit vectors, shape sample_shape + (..., D): the Möbius map of uniform draws. Gradients reach loc and κ.

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

    def _mean_cosine(self) -> Tensor:
        """Return the mean cosine; at D = 2 it is ρ."""
        return self._moments()[0]

    def _variances(self) -> tuple[Tensor, Tensor]:
        return self._moments()[1:]

    def _moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return power and rate of the kernel (1 + 4κ u)^(−(D−1)), with u = ‖x − μ‖²/4."""
        power = torch.full_like(self._unbroadcasted_concentration, self.event_shape[0] - 1.0)
        return zonal_moments(power, 4 * self._unbroadcasted_concentration, self.event_shape[0])
