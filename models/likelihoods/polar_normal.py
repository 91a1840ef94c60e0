"""The polar Normal likelihood: the Gaussian limit of the polar Student-t."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
from jaxtyping import Float
from pyro.nn import PyroModule
from torch import Tensor

from vje_ppl.models.radius import NormalRadius, base_measure_with, checked_radius
from vje_ppl.program.polar import to_polar


class PolarNormal(PyroModule):
    """Target embedding z_b = r_b ẑ_b given the latent s, with ŝ = s/‖s‖:

        ẑ_b ~ Normal(ŝ, diag(scale²))          site "direction"
        r_b ~ Normal(‖s‖, radius_scale²)       site "radius", that is, on the residual Δr = r_b − ‖s‖

    The limit of `PolarStudentT` for ν → ∞, joint and factorized alike. The guide's standard deviations, feature by
    feature, are the direction's scale.

    Base measure: Lebesgue on R^D for the direction and on R for the radius. Neither is normalized where its
    observations live: on the unit sphere the direction's integral depends on the scale (below or above one), and the
    radius's leaks below zero. Within one model, per-image scores inherit that.

    Args:
        radius: the radial site; by default a `NormalRadius` of unit scale.

    Source: the Gaussian limit, found unstable: the paper. The radius's scale: ours.
    """

    def __init__(self, radius: PyroModule | None = None) -> None:
        super().__init__()
        self.radius = NormalRadius() if radius is None else checked_radius(radius, "PolarNormal")

    @property
    def base_measure(self) -> str:
        """The measure that its densities refer to; ELBOs can be compared only under the same measure."""
        return base_measure_with(self.radius, "polar")

    def forward(
        self,
        latent: Float[Tensor, "*draws N D"],
        scale: Float[Tensor, "*batch N D"],
        target: Float[Tensor, "*batch N D"] | None = None,
    ) -> None:
        """Declare the sites "direction" (event shape (D,)) and "radius" (event shape ()).

        Args:
            latent: s, shape (..., N, D), with a leading dimension for several particles.
            scale: the shared standard deviations, positive, shape (..., N, D).
            target: the embedding to observe, shape (..., N, D); `None` draws direction (off the sphere) and radius.
        """
        location = to_polar(latent)
        observed = (None, None) if target is None else to_polar(target)
        pyro.sample("direction", dist.Normal(location.direction, scale).to_event(1), obs=observed[0])
        self.radius(location, scale, observed[1])
