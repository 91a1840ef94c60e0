"""The power spherical distribution on the unit sphere of any dimension."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from vje_ppl.distributions.log_gamma import log_gamma_ratio
from vje_ppl.distributions.sphere import ZonalDistribution, from_versine, versine


class PowerSpherical(ZonalDistribution):
    """The density on the unit sphere of R^D that is a power of one plus the cosine of the angle from `loc`.

        log p(x) = κ log((1 + μ·x)/2) + log Γ(α+β) − log Γ(α) − β log 4π,     α = (D−1)/2 + κ,  β = (D−1)/2

    κ = 0 is uniform; for large κ it is close to a Normal on the tangent space with standard deviation √(2/κ) per
    feature. Unlike the von Mises-Fisher it has a closed-form normalizer and draws without rejection.

    The density is 0 at x = −μ. There log((1 + μ·x)/2) is held at log ε², with ε the spacing of the floating-point type:
    within an angle of about 2 ε, where rounded unit vectors cannot be distinguished from −μ, the value is constant and
    the gradient 0, so that both are finite.

    Base measure: the surface measure of the unit sphere, over which it integrates to one.

    Args:
        loc: unit vectors μ, shape (..., D), D ≥ 2. For the zero vector, which has no direction, the density at any x
            is that at a right angle to a location.
        concentration: finite κ ≥ 0, a number or a tensor of shape (...).

    Raises:
        ValueError: for fewer than two features, or a number κ that is not finite.

    Source: De Cao and Aziz, The Power Spherical Distribution (2020), arXiv 2006.04437; the floor is ours.
    """

    has_rsample = True

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density in nats of unit vectors, shape (..., D), over the sphere's area; shape (...)."""
        if self._validate_args:
            self._validate_sample(value)
        beta = 0.5 * (self.event_shape[0] - 1)
        alpha = self._unbroadcasted_concentration + beta
        log_normalizer = log_gamma_ratio(alpha, torch.full_like(alpha, beta)) + beta * (alpha / (4 * math.pi)).log()
        return self.concentration * _log_half_one_plus_cosine(self.loc, value) + log_normalizer

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw unit vectors, shape sample_shape + (..., D): (1 − cosine)/2 ~ Beta(β, α), then a random tangent.

        Gradients reach loc and concentration. For a loc of zero the draws are uniform on the sphere, as the density is.

        Source: De Cao and Aziz (2020), algorithm 1. The Beta is drawn as a ratio of Gammas, one of which depends on κ.
        """
        shape = self._extended_shape(torch.Size(sample_shape))
        beta = torch.full_like(self.concentration, 0.5 * (shape[-1] - 1)).expand(shape[:-1])
        far = torch.distributions.Gamma(beta, 1.0, validate_args=False).rsample()
        near = torch.distributions.Gamma(beta + self.concentration, 1.0, validate_args=False).rsample()
        return from_versine(self.loc.expand(shape), 2 * far / (far + near))

    def _mean_cosine(self) -> Tensor:
        """Return κ/(κ + D − 1)."""
        return self.concentration / (self.concentration + self.event_shape[0] - 1)

    def _variances(self) -> tuple[Tensor, Tensor]:
        """Return the variance 4αβ/((α+β)²(α+β+1)) of the cosine, and 2α/((α+β)(α+β+1)) perpendicular to `loc`."""
        beta = 0.5 * (self.event_shape[0] - 1)
        alpha = self.concentration + beta
        across = 2 * alpha / ((alpha + beta) * (alpha + beta + 1))
        return 2 * beta / (alpha + beta) * across, across


def _log_half_one_plus_cosine(loc: Tensor, value: Tensor) -> Tensor:
    """Return `log((1 + μ·x)/2)` without cancellation, from the distance to μ or to −μ, whichever is closer."""
    value = value.to(torch.promote_types(loc.dtype, value.dtype))
    loc = loc.to(value.dtype)
    opposite = torch.linalg.vecdot(loc.detach(), value.detach()) < 0
    sign = torch.where(opposite, -1.0, 1.0).to(loc.dtype)
    closer = 0.5 * versine(sign.unsqueeze(-1) * loc, value)
    floor = torch.finfo(closer.dtype).eps ** 2
    # Each branch is finite where the other is used: the distance to the closer of the two is at most ½.
    return torch.where(opposite, closer.clamp_min(floor).log(), torch.log1p(-closer))
