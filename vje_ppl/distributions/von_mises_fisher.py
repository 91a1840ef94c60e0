"""The von Mises-Fisher distribution on the unit sphere of any dimension."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.distributions.util import broadcast_shape
from torch import Tensor

from vje_ppl.distributions.bessel import log_exponential_integral, mean_cosine_rate
from vje_ppl.distributions.promoted import Parameter, promoted
from vje_ppl.distributions.sphere import checked_concentration, finite_nonnegative, from_versine, unit_ball, versine

#: Proposals of Wood's sampler per draw. It rejects at most 0.35 of them, at D = 2 and large κ; that all are rejected,
#: and the last one is returned, has a probability of about 1e-11.
_PROPOSALS = 24


class VonMisesFisher(TorchDistribution):
    """The density on the unit sphere of R^D that falls off with the cosine of the angle from `loc`.

        log p(x) = κ (μ·x − 1) − log ∫ exp(κ (μ·y − 1)) dy,
        log ∫ exp(κ (μ·y − 1)) dy = D/2 log 2π − (D/2−1) log κ + log I_{D/2−1}(κ) − κ

    κ = 0 is uniform; for large κ it is close to a Normal on the tangent space with standard deviation 1/√κ a feature.
    `pyro.distributions.VonMises` is the same at D = 2, on angles; `VonMises3D` at D = 3. Both terms are computed
    without cancellation (`versine`, `log_exponential_integral`), in float32 up to κ = 1e8 and beyond.

    Base measure: the surface measure of the unit sphere, over which it integrates to one.

    Args:
        loc: unit vectors μ, shape (..., D), D ≥ 2. For the zero vector, which has no direction, the density is what it
            is at a right angle, wherever x is.
        concentration: finite κ ≥ 0, a number or a tensor of shape (...).

    Raises:
        ValueError: for fewer than two features, or a number κ that is not finite.

    Source: Mardia and Jupp, Directional Statistics (2000), section 9.3.2.
    """

    arg_constraints: ClassVar = {"loc": unit_ball, "concentration": finite_nonnegative}
    support = constraints.sphere
    has_rsample = False

    def __init__(self, loc: Parameter, concentration: Parameter, validate_args: bool | None = None) -> None:
        loc, concentration = promoted(loc, checked_concentration(concentration, "VonMisesFisher"))
        if loc.dim() < 1 or loc.shape[-1] < 2:
            raise ValueError(
                f"VonMisesFisher expects loc with a last dimension of two or more features, got shape "
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

    def expand(self, batch_shape: Any, _instance: Any = None) -> VonMisesFisher:
        """The same distribution with another batch shape; nothing is copied."""
        new = self._get_checked_instance(VonMisesFisher, _instance)
        batch_shape = torch.Size(batch_shape)
        new.loc = self.loc.expand(batch_shape + self.event_shape)
        new.concentration = self.concentration.expand(batch_shape)
        new._unbroadcasted_concentration = self._unbroadcasted_concentration
        super(VonMisesFisher, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density in nats of unit vectors, shape (..., D), over the area of the sphere; one number a vector."""
        if self._validate_args:
            self._validate_sample(value)
        integral = log_exponential_integral(self._unbroadcasted_concentration, self.event_shape[0])
        return -self.concentration * versine(self.loc, value) - integral

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw unit vectors, shape sample_shape + (..., D), without gradients.

        The cosine is drawn by rejection from a fixed number of proposals, so that nothing waits for a device. For a
        loc of zero the draws are uniform on the sphere, as the density is.

        Source: Wood, Simulation of the von Mises Fisher Distribution (1994), written in terms of one minus the cosine.
        """
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            loc, concentration = self.loc.expand(shape), self.concentration.expand(shape[:-1])
            return from_versine(loc, _draw_versine(concentration, shape[-1]))

    @property
    def mean(self) -> Tensor:
        """The mean, shape (..., D), inside the sphere: A(κ) μ, with A(κ) = I_{D/2}(κ) / I_{D/2−1}(κ)."""
        rate = mean_cosine_rate(self.concentration, self.event_shape[0])
        return (self.concentration * rate).unsqueeze(-1) * self.loc

    @property
    def variance(self) -> Tensor:
        """Feature-wise variances, shape (..., D): A'(κ) μ_j² + A(κ)/κ (1 − μ_j²)."""
        dim, learned = self.event_shape[0], self.concentration.requires_grad
        with torch.enable_grad():
            # A' = 1 − A² − (D−1) A/κ cancels for large κ; the second derivative of the normalizer does not.
            kappa = self.concentration if learned else self.concentration.detach().requires_grad_()
            (slope,) = torch.autograd.grad(log_exponential_integral(kappa, dim).sum(), kappa, create_graph=True)
            (along,) = torch.autograd.grad(slope.sum(), kappa, create_graph=learned)
        across, squared = mean_cosine_rate(self.concentration, dim), self.loc.square()
        return along.unsqueeze(-1) * squared + across.unsqueeze(-1) * (1 - squared)


def _draw_versine(concentration: Tensor, dim: int) -> Tensor:
    """One minus the cosine of the angle from the location, one draw an element of κ.

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
    chosen = accepted.to(torch.uint8).argmax(0, keepdim=True)  # the first of them
    return (start * relative.gather(0, chosen).squeeze(0)).clamp(0, 2)
