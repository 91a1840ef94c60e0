"""The polar Student-t likelihood: direction and radius, each with heavy tails.

Twin of `vje_ppl.models.likelihoods.polar_student_t`.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpyro
from jaxtyping import Array, Float
from numpyro.distributions import Distribution

from vje_ppl.numpyro_port.degrees_of_freedom import DegreesOfFreedom
from vje_ppl.numpyro_port.distributions import DiagonalStudentT, StudentT
from vje_ppl.numpyro_port.polar import to_polar
from vje_ppl.numpyro_port.radius import StudentTRadius, base_measure_with, checked_radius


def factorized(df: jax.Array, loc: jax.Array, scale: jax.Array) -> Distribution:
    """Return independent Student-ts for the features, instead of one joint term; event shape (D,). Ours."""
    return StudentT(df[..., None], loc, scale).to_event(1)


class PolarStudentT:
    """Target embedding z_b = r_b ẑ_b given the latent s, with ŝ = s/‖s‖:

        ẑ_b ~ StudentT_ν(ŝ, diag(scale²))         site "direction"
        r_b ~ StudentT_ν'(‖s‖, radius_scale²)     site "radius", that is, on the residual Δr = r_b − ‖s‖

    If ν is learned, its parameter is "likelihood.df.raw", after its path in the Pyro model.
    """

    def __init__(
        self,
        df: float = 1.0,
        learn_df: bool = False,
        direction: Callable[[jax.Array, jax.Array, jax.Array], Distribution] = DiagonalStudentT,
        radius: Callable[..., None] | None = None,
    ) -> None:
        if not callable(direction):
            raise ValueError(
                f"PolarStudentT expects a function as direction, got {direction!r}; choose "
                "likelihood/direction=joint or factorized."
            )
        self.df = DegreesOfFreedom(df, learn_df, "likelihood.df")
        self.direction = direction
        self.radius = StudentTRadius(df, learn_df) if radius is None else checked_radius(radius, "PolarStudentT")

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
        df = self.df(latent.dtype)
        numpyro.sample("direction", self.direction(df, location.direction, scale), obs=observed[0])
        self.radius(location, scale, observed[1])
