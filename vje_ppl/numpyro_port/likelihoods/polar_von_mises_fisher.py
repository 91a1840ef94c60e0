"""The polar von Mises-Fisher likelihood: a direction that is normalized on the sphere.

Twin of `vje_ppl.models.likelihoods.polar_von_mises_fisher`.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpyro
from jaxtyping import Array, Float

from vje_ppl.numpyro_port.distributions.von_mises_fisher import VonMisesFisher
from vje_ppl.numpyro_port.isotropic import geometric_mean
from vje_ppl.numpyro_port.polar import to_polar
from vje_ppl.numpyro_port.radius import StudentTRadius, base_measure_with, checked_radius


class PolarVonMisesFisher:
    """Target embedding z_b = r_b ẑ_b given the latent s, with ŝ = s/‖s‖ and σ̄ the geometric mean of the scales:

    ẑ_b ~ VonMisesFisher(ŝ, κ),  κ = 1/σ̄²     site "direction"
    r_b ~ StudentT_ν(‖s‖, radius_scale²)      site "radius", that is, on the residual Δr = r_b − ‖s‖
    """

    def __init__(self, radius: Callable[..., None] | None = None) -> None:
        self.radius = StudentTRadius() if radius is None else checked_radius(radius, "PolarVonMisesFisher")

    @property
    def base_measure(self) -> str:
        """The measure that its densities refer to; ELBOs can be compared only under the same measure."""
        return base_measure_with(self.radius, "sphere")

    def __call__(
        self,
        latent: Float[Array, "*draws N D"],
        scale: Float[Array, "*batch N D"],
        target: Float[Array, "*batch N D"] | None = None,
    ) -> None:
        """Declare the sites "direction" (event shape (D,)) and "radius" (event shape ())."""
        location = to_polar(latent)
        observed = (None, None) if target is None else to_polar(target)
        concentration = 1 / jnp.square(geometric_mean(scale))
        numpyro.sample("direction", VonMisesFisher(location.direction, concentration), obs=observed[0])
        self.radius(location, scale, observed[1])
