"""The radial site that all polar likelihoods share: r_b = ‖z_b‖ given the length ‖s‖ of the latent."""

from __future__ import annotations

import math
from collections.abc import Callable

import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro.nn import PyroModule
from torch import Tensor
from torch.distributions import ExpTransform

from vje_ppl.distributions import StudentT
from vje_ppl.models.degrees_of_freedom import DegreesOfFreedom
from vje_ppl.models.radius_scales import unit
from vje_ppl.program.polar import SMALLEST_RADIUS, Polar

#: A function from the latent's direction ŝ and the shared scale, both (..., D), to the radius's scale, shape (...).
RadiusScale = Callable[[Tensor, Tensor], Tensor]


class StudentTRadius(PyroModule):
    """`r_b ~ StudentT_ν(‖s‖, scale²)`, that is, on the residual Δr = r_b − ‖s‖. Site "radius".

    Base measure: Lebesgue on R. The density leaks below zero, where no radius lives.

    Args:
        df: degrees of freedom ν, positive; small is heavy-tailed.
        learn_df: whether ν is learned, starting from `df`.
        scale: computes the radius's scale, shape (...), from ŝ and the shared scale, both (..., D): `unit` or
            `projected`.

    Source: Student-t on Δr: the paper; the scales: ours.
    """

    def __init__(self, df: float = 1.0, learn_df: bool = False, scale: RadiusScale = unit) -> None:
        super().__init__()
        self.df = DegreesOfFreedom(df, learn_df)
        self.scale = _checked_scale(scale, "StudentTRadius")

    def forward(
        self, location: Polar, scale: Float[Tensor, "*batch N D"], observed: Float[Tensor, "*batch N"] | None = None
    ) -> None:
        """Declare the site "radius", event shape ().

        Args:
            location: the latent's direction ŝ, shape (..., N, D), and length ‖s‖, shape (..., N).
            scale: the shared standard deviations, positive, shape (..., N, D).
            observed: r_b, shape (..., N), in units of the embedding; `None` draws it.
        """
        df, own_scale = self.df(location.radius.dtype), self.scale(location.direction, scale)
        pyro.sample("radius", StudentT(df, location.radius, own_scale), obs=observed)


class LogStudentTRadius(PyroModule):
    """`log r_b ~ StudentT_ν(log ‖s‖, scale²)`, so that all radii are positive. Site "radius".

        log p(r) = log StudentT_ν(log r | log ‖s‖, scale²) − log r

    Radii below `SMALLEST_RADIUS` count as that, and draws stay between the root of the largest number and its inverse.

    Base measure: Lebesgue on the positive half-line, over which it integrates to one.

    Args:
        df: degrees of freedom ν, positive; small is heavy-tailed.
        learn_df: whether ν is learned, starting from `df`.
        scale: computes the scale of log r, shape (...), from ŝ and the shared scale, both (..., D): `unit` or
            `projected`.

    Source: ours.
    """

    def __init__(self, df: float = 1.0, learn_df: bool = False, scale: RadiusScale = unit) -> None:
        super().__init__()
        self.df = DegreesOfFreedom(df, learn_df)
        self.scale = _checked_scale(scale, "LogStudentTRadius")

    def forward(
        self, location: Polar, scale: Float[Tensor, "*batch N D"], observed: Float[Tensor, "*batch N"] | None = None
    ) -> None:
        """Declare the site "radius", event shape (). Arguments as in `StudentTRadius`."""
        df, own_scale = self.df(location.radius.dtype), self.scale(location.direction, scale)
        log_radius = StudentT(df, location.radius.clamp_min(SMALLEST_RADIUS).log(), own_scale)
        if observed is not None:
            observed = observed.clamp_min(SMALLEST_RADIUS)
        pyro.sample("radius", dist.TransformedDistribution(log_radius, [_CappedExp()]), obs=observed)


class _CappedExp(ExpTransform):
    """The exponential, of numbers up to half of what overflows or vanishes."""

    def _call(self, x: Tensor) -> Tensor:
        largest = 0.5 * math.log(torch.finfo(x.dtype).max)
        return x.clamp(-largest, largest).exp()


class NormalRadius(PyroModule):
    """`r_b ~ Normal(‖s‖, scale²)`, the limit of `StudentTRadius` for ν → ∞. Site "radius".

    Base measure: Lebesgue on R. The density leaks below zero, where no radius lives.

    Args:
        scale: computes the radius's standard deviation, shape (...), from ŝ and the shared scale, both (..., D): `unit`
            or `projected`.

    Source: the Gaussian limit: the paper; the scales: ours.
    """

    def __init__(self, scale: RadiusScale = unit) -> None:
        super().__init__()
        self.scale = _checked_scale(scale, "NormalRadius")

    def forward(
        self, location: Polar, scale: Float[Tensor, "*batch N D"], observed: Float[Tensor, "*batch N"] | None = None
    ) -> None:
        """Declare the site "radius", event shape (). Arguments as in `StudentTRadius`."""
        own_scale = self.scale(location.direction, scale)
        pyro.sample("radius", dist.Normal(location.radius, own_scale), obs=observed)


class NoRadius(PyroModule):
    """No radial site: the likelihood explains directions alone.

    Source: ours, the ablation of the radial term.
    """

    def forward(
        self, location: Polar, scale: Float[Tensor, "*batch N D"], observed: Float[Tensor, "*batch N"] | None = None
    ) -> None:
        """Declare nothing. Arguments as in `StudentTRadius`, all ignored."""


def base_measure_with(radius: object, of_direction: str) -> str:
    """Return a likelihood's `base_measure`: the name for its direction, completed by its radial site."""
    if isinstance(radius, NoRadius):
        return f"{of_direction}, direction only"
    return f"{of_direction}, positive radius" if isinstance(radius, LogStudentTRadius) else of_direction


def checked_radius[R](radius: R, likelihood: str) -> R:
    """Return the radial part given to a likelihood, if it is callable.

    Raises:
        ValueError: if it cannot be called, as when `likelihood.radius=none` is typed for `likelihood/radius=none`.
    """
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
