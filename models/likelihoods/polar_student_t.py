"""The polar Student-t likelihood: direction and radius, each with heavy tails."""

from __future__ import annotations

from collections.abc import Callable

import pyro
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistributionMixin
from pyro.nn import PyroModule
from torch import Tensor

from vje_ppl.distributions import DiagonalStudentT, StudentT
from vje_ppl.models.degrees_of_freedom import DegreesOfFreedom
from vje_ppl.models.radius import StudentTRadius, base_measure_with, checked_radius
from vje_ppl.program.polar import to_polar


def factorized(df: Tensor, loc: Tensor, scale: Tensor) -> TorchDistributionMixin:
    """Return independent Student-ts for the features, instead of one joint term; event shape (D,). Ours."""
    return StudentT(df.unsqueeze(-1), loc, scale).to_event(1)


class PolarStudentT(PyroModule):
    """Target embedding z_b = r_b ẑ_b given the latent s, with ŝ = s/‖s‖:

        ẑ_b ~ StudentT_ν(ŝ, diag(scale²))         site "direction"
        r_b ~ StudentT_ν'(‖s‖, radius_scale²)     site "radius", that is, on the residual Δr = r_b − ‖s‖

    The guide's standard deviations, feature by feature, are the direction's scale.

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
        direction: Callable[[Tensor, Tensor, Tensor], TorchDistributionMixin] = DiagonalStudentT,
        radius: PyroModule | None = None,
    ) -> None:
        super().__init__()
        if not callable(direction):
            raise ValueError(
                f"PolarStudentT expects a function as direction, got {direction!r}; choose "
                "likelihood/direction=joint or factorized."
            )
        self.df = DegreesOfFreedom(df, learn_df)
        self.direction = direction
        self.radius = StudentTRadius(df, learn_df) if radius is None else checked_radius(radius, "PolarStudentT")

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
        df = self.df(latent.dtype)
        pyro.sample("direction", self.direction(df, location.direction, scale), obs=observed[0])
        self.radius(location, scale, observed[1])
