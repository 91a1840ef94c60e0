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
    """Independent Student-t per feature, the alternative to one joint Mahalanobis term. Event shape (D,). Ours."""
    return StudentT(df[..., None], loc, scale).to_event(1)


class PolarStudentT:
    """Target embedding z_b = r_b ẑ_b given the latent s, with ŝ = s/‖s‖:

        ẑ_b ~ StudentT_ν(ŝ, diag(scale²))         site "direction"
        r_b ~ StudentT_ν'(‖s‖, radius_scale²)     site "radius", that is, on the residual Δr = r_b − ‖s‖

    The guide's standard deviations, feature by feature, are the direction's scale. Where ν is learned, its parameter is
    "likelihood.df.raw", its path in the Pyro model.

    Base measure: Lebesgue on R^D for the direction and on R for the radius. Neither is normalized where its
    observations live: on the unit sphere the direction's integral depends on the scale (below or above one), and the
    radius's leaks below zero. Within one model, per-image scores inherit that.

    Args:
        df: degrees of freedom ν of the direction, positive; small is heavy-tailed.
        learn_df: whether ν is learned, starting from `df`.
        direction: builds the direction's density from (df, loc, scale): `DiagonalStudentT`, one Mahalanobis term for
            all features, or `factorized`, independent features.
        radius: the radial site; by default a `StudentTRadius` of unit scale, with `df` and `learn_df` as here.

    Source: polar Student-t sites with the guide's variances as scale: the paper. The joint form, the radius's scale and
    a learned ν: ours.
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
        """The measure that its densities refer to; only likelihoods of the same one compare."""
        return base_measure_with(self.radius, "polar")

    def __call__(
        self,
        latent: Float[Array, "*draws N D"],
        scale: Float[Array, "*batch N D"],
        target: Float[Array, "*batch N D"] | None = None,
    ) -> None:
        """Declare the sites "direction" (event shape (D,)) and "radius" (event shape ()).

        Args:
            latent: s, shape (..., N, D).
            scale: the shared standard deviations, positive, shape (..., N, D).
            target: the embedding to observe, shape (..., N, D); `None` draws direction (off the sphere) and radius.
        """
        location = to_polar(latent)
        observed = (None, None) if target is None else to_polar(target)
        df = self.df(latent.dtype)
        numpyro.sample("direction", self.direction(df, location.direction, scale), obs=observed[0])
        self.radius(location, scale, observed[1])
