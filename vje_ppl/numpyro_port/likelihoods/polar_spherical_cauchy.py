"""The polar spherical Cauchy likelihood: a heavy-tailed direction with a closed-form normalizer on the sphere.

Twin of `vje_ppl.models.likelihoods.polar_spherical_cauchy`.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpyro
from jaxtyping import Array, Float

from vje_ppl.numpyro_port.distributions.spherical_cauchy import SphericalCauchy
from vje_ppl.numpyro_port.isotropic import geometric_mean
from vje_ppl.numpyro_port.polar import to_polar
from vje_ppl.numpyro_port.radius import StudentTRadius, base_measure_with, checked_radius


class PolarSphericalCauchy:
    """Target embedding z_b = r_b ẑ_b given the latent s, with ŝ = s/‖s‖ and σ̄ the geometric mean of the scales:

    ẑ_b ~ SphericalCauchy(ŝ, κ),  κ = ρ/(1−ρ)² = 1/(2(D−1)σ̄²)     site "direction"
    r_b ~ StudentT_ν(‖s‖, radius_scale²)                          site "radius", that is, on Δr = r_b − ‖s‖
    """

    def __init__(self, radius: Callable[..., None] | None = None) -> None:
        self.radius = StudentTRadius() if radius is None else checked_radius(radius, "PolarSphericalCauchy")

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
        concentration = 0.5 / ((latent.shape[-1] - 1) * jnp.square(geometric_mean(scale)))
        numpyro.sample("direction", SphericalCauchy(location.direction, concentration), obs=observed[0])
        self.radius(location, scale, observed[1])
