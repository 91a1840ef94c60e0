"""The radial site that all polar likelihoods share: r_b = ‖z_b‖ given the length ‖s‖ of the latent.

Twin of `vje_ppl.models.radius`.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float
from numpyro.distributions.transforms import ExpTransform

from vje_ppl.numpyro_port.degrees_of_freedom import DegreesOfFreedom
from vje_ppl.numpyro_port.distributions import StudentT
from vje_ppl.numpyro_port.polar import SMALLEST_RADIUS, Polar
from vje_ppl.numpyro_port.radius_scales import unit

#: A function from the latent's direction ŝ and the shared scale, both (..., D), to the radius's scale, shape (...).
RadiusScale = Callable[[jax.Array, jax.Array], jax.Array]


class StudentTRadius:
    """`r_b ~ StudentT_ν(‖s‖, scale²)`, that is, on the residual Δr = r_b − ‖s‖. Site "radius".

    If ν is learned, its parameter is "likelihood.radius.df.raw", after its path in the Pyro model.
    """

    def __init__(self, df: float = 1.0, learn_df: bool = False, scale: RadiusScale = unit) -> None:
        self.df = DegreesOfFreedom(df, learn_df, "likelihood.radius.df")
        self.scale = _checked_scale(scale, "StudentTRadius")

    def __call__(
        self, location: Polar, scale: Float[Array, "*batch N D"], observed: Float[Array, "*batch N"] | None = None
    ) -> None:
        """Declare the site "radius", event shape ()."""
        df, own_scale = self.df(location.radius.dtype), self.scale(location.direction, scale)
        numpyro.sample("radius", StudentT(df, location.radius, own_scale), obs=observed)


class LogStudentTRadius:
    """`log r_b ~ StudentT_ν(log ‖s‖, scale²)`, so that all radii are positive. Site "radius".

    If ν is learned, its parameter is "likelihood.radius.df.raw", after its path in the Pyro model. In contrast to
    its twin, draws may overflow.
    """

    def __init__(self, df: float = 1.0, learn_df: bool = False, scale: RadiusScale = unit) -> None:
        self.df = DegreesOfFreedom(df, learn_df, "likelihood.radius.df")
        self.scale = _checked_scale(scale, "LogStudentTRadius")

    def __call__(
        self, location: Polar, scale: Float[Array, "*batch N D"], observed: Float[Array, "*batch N"] | None = None
    ) -> None:
        """Declare the site "radius", event shape ()."""
        df, own_scale = self.df(location.radius.dtype), self.scale(location.direction, scale)
        log_radius = StudentT(df, jnp.log(jnp.maximum(location.radius, SMALLEST_RADIUS)), own_scale)
        if observed is not None:
            observed = jnp.maximum(observed, SMALLEST_RADIUS)
        numpyro.sample("radius", dist.TransformedDistribution(log_radius, [ExpTransform()]), obs=observed)


class NormalRadius:
    """`r_b ~ Normal(‖s‖, scale²)`, the limit of `StudentTRadius` for ν → ∞. Site "radius"."""

    def __init__(self, scale: RadiusScale = unit) -> None:
        self.scale = _checked_scale(scale, "NormalRadius")

    def __call__(
        self, location: Polar, scale: Float[Array, "*batch N D"], observed: Float[Array, "*batch N"] | None = None
    ) -> None:
        """Declare the site "radius", event shape ()."""
        own_scale = self.scale(location.direction, scale)
        numpyro.sample("radius", dist.Normal(location.radius, own_scale), obs=observed)


class NoRadius:
    """No radial site: the likelihood describes directions only."""

    def __call__(
        self, location: Polar, scale: Float[Array, "*batch N D"], observed: Float[Array, "*batch N"] | None = None
    ) -> None:
        """Declare nothing."""


def base_measure_with(radius: object, of_direction: str) -> str:
    """Return a likelihood's `base_measure`: the name for its direction, completed by its radial site."""
    if isinstance(radius, NoRadius):
        return f"{of_direction}, direction only"
    return f"{of_direction}, positive radius" if isinstance(radius, LogStudentTRadius) else of_direction


def checked_radius[R](radius: R, likelihood: str) -> R:
    """Return the radial part that a likelihood was given; raise a `ValueError` if it is not callable."""
    if not callable(radius):
        raise ValueError(
            f"{likelihood} expects a program as radius, such as StudentTRadius, got {radius!r}; choose one with "
            "likelihood/radius=student_t, log_student_t, normal or none."
        )
    return radius


def _checked_scale(scale: RadiusScale, owner: str) -> RadiusScale:
    if not callable(scale):
        raise ValueError(
            f"{owner} expects a function as scale, got {scale!r}; choose likelihood/radius/scale=unit or projected."
        )
    return scale
