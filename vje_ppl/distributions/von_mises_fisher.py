"""The von Mises-Fisher distribution on the unit sphere of any dimension."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vje_ppl.distributions.bessel import log_exponential_integral, mean_cosine_rate
from vje_ppl.distributions.sphere import ZonalDistribution, from_versine, versine

#: Proposals of Wood's sampler per draw. At most a share of 0.35 is rejected, at D = 2 and large κ. If all are rejected,
#: which has a probability of about 1e-11, the last proposal is returned.
_PROPOSALS = 24


class VonMisesFisher(ZonalDistribution):
    """The density on the unit sphere of R^D whose logarithm is linear in the cosine of the angle from `loc`.

        log p(x) = κ (μ·x − 1) − log ∫ exp(κ (μ·y − 1)) dy,
        log ∫ exp(κ (μ·y − 1)) dy = D/2 log 2π − (D/2−1) log κ + log I_{D/2−1}(κ) − κ

    For κ = 0 it is uniform. For large κ it is close to a Normal on the tangent space with standard deviation 1/√κ per
    feature. `pyro.distributions.VonMises` is the same density at D = 2, on angles, and `VonMises3D` at D = 3. Both
    terms are computed without cancellation (`versine`, `log_exponential_integral`), in float32 up to κ = 1e8 and
    beyond.

    Base measure: the surface measure of the unit sphere, over which it integrates to one.

    Args:
        loc: unit vectors μ, shape (..., D), D ≥ 2. For the zero vector, which has no direction, the density at any x
            is that at a right angle to a location.
        concentration: finite κ ≥ 0, a number or a tensor of shape (...).

    Raises:
        ValueError: for fewer than two features, or a number κ that is not finite.

    Source: Mardia and Jupp, Directional Statistics (2000), section 9.3.2.

    Example:
        >>> VonMisesFisher(torch.tensor([1.0, 0.0, 0.0]), 0.0).log_prob(torch.tensor([0.0, 1.0, 0.0])).exp()  # 1/(4π)
        tensor(0.0796)
    """

    has_rsample = False

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density in nats of unit vectors, shape (..., D), over the sphere's area; shape (...)."""
        if self._validate_args:
            self._validate_sample(value)
        integral = log_exponential_integral(self._unbroadcasted_concentration, self.event_shape[0])
        return -self.concentration * versine(self.loc, value) - integral

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw unit vectors, shape sample_shape + (..., D), without gradients.

        The cosine is drawn by rejection from a fixed number of proposals, so no step waits for a device. If `loc` is
        zero, the draws are uniform on the sphere, as the density is.

        Source: Wood, Simulation of the von Mises Fisher Distribution (1994), here for one minus the cosine.
        """
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            loc, concentration = self.loc.expand(shape), self.concentration.expand(shape[:-1])
            return from_versine(loc, _draw_versine(concentration, shape[-1]))

    def _mean_cosine(self) -> Tensor:
        """Return A(κ) = I_{D/2}(κ) / I_{D/2−1}(κ)."""
        return self.concentration * mean_cosine_rate(self.concentration, self.event_shape[0])

    def _variances(self) -> tuple[Tensor, Tensor]:
        """Return A'(κ), the variance of the cosine, and A(κ)/κ, the variance along a perpendicular direction."""
        dim, learned = self.event_shape[0], self.concentration.requires_grad
        with torch.enable_grad():
            # A' = 1 − A² − (D−1) A/κ loses digits for large κ; the second derivative of the normalizer does not.
            kappa = self.concentration if learned else self.concentration.detach().requires_grad_()
            (slope,) = torch.autograd.grad(log_exponential_integral(kappa, dim).sum(), kappa, create_graph=True)
            (along,) = torch.autograd.grad(slope.sum(), kappa, create_graph=learned)
        return along, mean_cosine_rate(self.concentration, dim)


def _draw_versine(concentration: Tensor, dim: int) -> Tensor:
    """Draw one minus the cosine of the angle from the location, for each element of κ.

    A proposal is v₀ (1 + b) g / (h + b g), for g, h ~ Gamma((D−1)/2), accepted at
    κ (v₀ − v) + (D−1) log[(1 + (1−v₀) v/v₀) / (2−v₀)] ≥ log u.
    """
    proposals = (_PROPOSALS, *concentration.shape)
    gammas = torch.distributions.Gamma(torch.full_like(concentration, 0.5 * (dim - 1)), 1.0, validate_args=False)
    first, second = gammas.sample((2, _PROPOSALS))
    b = (dim - 1) / (2 * concentration + torch.hypot(2 * concentration, torch.full_like(concentration, dim - 1)))
    start = 2 * b / (1 + b)
    relative = (1 + b) * first / (second + b * first)
    log_ratio = concentration * start * (1 - relative) + (dim - 1) * (
        ((1 - start) * relative - (1 - start)).div(2 - start).log1p()
    )
    accepted = log_ratio >= torch.rand(proposals, dtype=b.dtype, device=b.device).log()
    accepted[-1] = True
    chosen = accepted.to(torch.uint8).argmax(0, keepdim=True)  # the first accepted proposal
    return (start * relative.gather(0, chosen).squeeze(0)).clamp(0, 2)
