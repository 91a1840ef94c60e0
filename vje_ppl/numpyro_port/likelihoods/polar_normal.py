"""The polar Normal likelihood: the Gaussian limit of the polar Student-t.

Twin of `vje_ppl.models.likelihoods.polar_normal`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float

from vje_ppl.numpyro_port.polar import to_polar
from vje_ppl.numpyro_port.radius import NormalRadius, base_measure_with, checked_radius


class PolarNormal:
    """Target embedding z_b = r_b ẑ_b given the latent s, with ŝ = s/‖s‖:

    ẑ_b ~ Normal(ŝ, diag(scale²))          site "direction"
    r_b ~ Normal(‖s‖, radius_scale²)       site "radius", that is, on the residual Δr = r_b − ‖s‖
    """

    def __init__(self, radius: Callable[..., None] | None = None) -> None:
        self.radius = NormalRadius() if radius is None else checked_radius(radius, "PolarNormal")

    @property
    def base_measure(self) -> str:
        """The measure that its densities refer to; ELBOs can be compared only under the same measure."""
        return base_measure_with(self.radius, "polar")

    def __call__(
        self,
        latent: Float[Array, "*draws N D"],
        scale: Float[Array, "*batch N D"],
        target: Float[Array, "*batch N D"] | None = None,
    ) -> None:
        """Declare the sites "direction" (event shape (D,)) and "radius" (event shape ())."""
        location = to_polar(latent)
        observed = (None, None) if target is None else to_polar(target)
        numpyro.sample("direction", dist.Normal(location.direction, scale).to_event(1), obs=observed[0])
        self.radius(location, scale, observed[1])
