"""The polar Student-t likelihood: direction and radius, each with heavy tails.

Twin of `vje_ppl.models.likelihoods.polar_student_t`.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jaxtyping import Array, Float
from numpyro.distributions import Distribution

from ..distributions import DiagonalStudentT, StudentT
from ..polar import to_polar
from ..radius_scales import unit


def factorized(df: jax.Array, loc: jax.Array, scale: jax.Array) -> Distribution:
    """Independent Student-t per feature, the alternative to one joint Mahalanobis term. Event shape (D,). Ours."""
    return StudentT(df[..., None], loc, scale).to_event(1)


class PolarStudentT:
    """Target embedding z_b = r_b ẑ_b given the latent s, with ŝ = s/‖s‖:

        ẑ_b ~ StudentT_ν(ŝ, diag(scale²))         site "direction"
        r_b ~ StudentT_ν'(‖s‖, radius_scale²)     site "radius", that is, on the residual Δr = r_b − ‖s‖

    Base measure: Lebesgue on R^D for the direction and on R for the radius. Neither is normalized where its
    observations live: on the unit sphere the direction's integral depends on the scale (below or above one), and the
    radius's leaks below zero. Within one model, per-image scores inherit that.

    Args:
        df: degrees of freedom ν of the direction, positive; small is heavy-tailed.
        radius_df: ν' of the radius; the same as `df` by default.
        direction: builds the direction's density from (df, loc, scale): `DiagonalStudentT`, one Mahalanobis term for
            all features, or `factorized`, independent features.
        radius_scale: computes the radius's scale, shape (...), from ŝ and the shared scale, both (..., D): `unit` or
            `projected`.

    Source: polar Student-t sites with the guide's variances as scale: the paper. The joint form and the radius's
    scale: ours.
    """

    base_measure = "polar"
    df: np.ndarray | jax.Array
    radius_df: np.ndarray | jax.Array

    def __init__(
        self,
        df: float = 1.0,
        radius_df: float | None = None,
        direction: Callable[[jax.Array, jax.Array, jax.Array], Distribution] = DiagonalStudentT,
        radius_scale: Callable[[jax.Array, jax.Array], jax.Array] = unit,
    ) -> None:
        radius_df = df if radius_df is None else radius_df
        for name, part in {"direction": direction, "radius_scale": radius_scale}.items():
            if not callable(part):
                raise ValueError(f"PolarStudentT expects a function as {name}, got {part!r}; see likelihood/{name}=...")
        if min(df, radius_df) <= 0:
            raise ValueError(
                f"PolarStudentT expects positive degrees of freedom, got df={df} and radius_df={radius_df}; "
                "1 is the default, and 30 is close to a Gaussian."
            )
        self.df, self.radius_df = np.asarray(float(df)), np.asarray(float(radius_df))
        self.direction = direction
        self.radius_scale = radius_scale

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
        df, radius_df = (jnp.asarray(one, latent.dtype) for one in (self.df, self.radius_df))
        radius_scale = self.radius_scale(location.direction, scale)
        numpyro.sample("direction", self.direction(df, location.direction, scale), obs=observed[0])
        numpyro.sample("radius", StudentT(radius_df, location.radius, radius_scale), obs=observed[1])
