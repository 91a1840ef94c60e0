"""Shared parts of densities on the unit sphere: a base class, distances without cancellation, area, tangents."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.distributions.util import broadcast_shape
from torch import Tensor

from vje_ppl.distributions.promoted import Parameter, promoted

#: A location whose squared norm is below 1 by more than this counts as too short for a direction. Ours.
_SHORT = 1e-3


class _UnitBall(constraints.Constraint):
    """Vectors of norm at most one, up to rounding: unit vectors, and shorter vectors such as zero (no direction)."""

    event_dim = 1

    def check(self, value: Any) -> Any:
        """Return whether each vector, shape (..., D), lies in the ball; shape (...)."""
        rounding = 10 * torch.finfo(value.dtype).eps * value.shape[-1] ** 0.5
        return torch.linalg.vector_norm(value.detach(), dim=-1) < 1 + rounding


#: The constraint of locations on the sphere. The constraint of observations is `pyro`'s `constraints.sphere`.
unit_ball = _UnitBall()


class _FiniteNonnegative(constraints.Constraint):
    """Numbers of at least 0, without infinity."""

    def check(self, value: Any) -> Any:
        """Return whether each number is finite and at least 0."""
        return (value >= 0) & torch.isfinite(value)


#: The constraint of concentrations: an infinite concentration is a point mass without a density.
finite_nonnegative = _FiniteNonnegative()


class ZonalDistribution(TorchDistribution):
    """A density on the unit sphere of R^D that depends only on the angle from `loc`, and is uniform for κ = 0.

    A subclass gives `log_prob`, `sample` or `rsample`, and the moments of the cosine from `loc`.

    Args:
        loc: unit vectors μ, shape (..., D), D ≥ 2. The zero vector, which has no direction, is allowed.
        concentration: finite κ ≥ 0, a number or a tensor of shape (...).

    Raises:
        ValueError: for fewer than two features, or a number κ that is not finite.
    """

    arg_constraints: ClassVar = {"loc": unit_ball, "concentration": finite_nonnegative}
    support = constraints.sphere

    def __init__(self, loc: Parameter, concentration: Parameter, validate_args: bool | None = None) -> None:
        name = type(self).__name__
        if not isinstance(concentration, Tensor) and not math.isfinite(concentration):
            raise ValueError(
                f"{name} expects a finite concentration of at least 0, got {concentration}; at infinity all mass is at "
                "loc, and there is no density."
            )
        loc, concentration = promoted(loc, concentration)
        if loc.dim() < 1 or loc.shape[-1] < 2:
            raise ValueError(
                f"{name} expects loc with a last dimension of two or more features, got shape {tuple(loc.shape)}; the "
                "sphere of R^1 is two points."
            )
        batch_shape = torch.broadcast_shapes(loc.shape[:-1], concentration.shape)
        self.loc = loc.expand(batch_shape + loc.shape[-1:])
        self.concentration = concentration.expand(batch_shape)
        # Normalizers are computed at the parameters' shape, not at the expanded shape.
        self._unbroadcasted_concentration = concentration
        super().__init__(batch_shape, loc.shape[-1:], validate_args=validate_args)

    @staticmethod
    def infer_shapes(  # type: ignore[override] # Pyro's base class takes any names
        loc: tuple[int, ...], concentration: tuple[int, ...]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return batch and event shape from the shapes of the arguments, for Pyro's lazy shape inference."""
        return broadcast_shape(loc[:-1], concentration), loc[-1:]

    def expand(self, batch_shape: Any, _instance: Any = None) -> ZonalDistribution:
        """Return the same distribution with another batch shape; nothing is copied."""
        new = self._get_checked_instance(ZonalDistribution, _instance)
        batch_shape = torch.Size(batch_shape)
        new.loc = self.loc.expand(batch_shape + self.event_shape)
        new.concentration = self.concentration.expand(batch_shape)
        new._unbroadcasted_concentration = self._unbroadcasted_concentration
        super(ZonalDistribution, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def mean(self) -> Tensor:
        """The mean, shape (..., D), inside the sphere: m μ, with m the mean cosine."""
        return self._mean_cosine().unsqueeze(-1) * self.loc

    @property
    def variance(self) -> Tensor:
        """Feature-wise variances, shape (..., D): v μ_j² + s (1 − μ_j²), of the cosine, and of one feature across."""
        (along, across), squared = self._variances(), self.loc.square()
        return along.unsqueeze(-1) * squared + across.unsqueeze(-1) * (1 - squared)

    def _mean_cosine(self) -> Tensor:
        """Return the mean m of the cosine from `loc`, broadcastable with the batch shape."""
        raise NotImplementedError

    def _variances(self) -> tuple[Tensor, Tensor]:
        """Return the variance v of the cosine, and s along any direction perpendicular to `loc`; shapes as above."""
        raise NotImplementedError


def log_sphere_area(dim: int) -> float:
    """Return the log area of the unit sphere of R^D, `log 2 + D/2 log π − log Γ(D/2)`; for D = 1, two points, log 2."""
    return math.log(2) + 0.5 * dim * math.log(math.pi) - math.lgamma(0.5 * dim)


def versine(loc: Float[Tensor, "*#batch D"], value: Float[Tensor, "*#batch D"]) -> Float[Tensor, "*draws"]:
    """Return one minus the cosine of the angle between unit vectors, as half their squared distance: `½ ‖x − μ‖²`.

    `1 − μ·x` loses all digits at small angles, and a concentration of 1e8 turns what is lost into nats. Off the sphere
    the two differ, by radial terms only, which a gradient through a normalized vector never sees.

    Args:
        loc: μ, unit vectors, shape (..., D). The zero vector, which has no direction, is at a right angle to all.
        value: x, unit vectors, shape (..., D).

    Returns:
        Shape (...), from 0 to 2.
    """
    difference = value - loc
    return 0.5 * (torch.linalg.vecdot(difference, difference) + missing_length(loc))


def missing_length(loc: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch"]:
    """Return one minus the squared length of a location, shape (...): 0 for a unit vector, 1 for the zero vector."""
    return torch.rsub(torch.linalg.vecdot(loc, loc), 1, alpha=1 / (1 - _SHORT)).clamp_min(0)


def from_versine(loc: Float[Tensor, "*batch D"], versine: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch D"]:
    """Draw the point at a given angle from a location, in a uniformly random tangent direction.

    The tangent is drawn around the first axis, which a Householder reflection then takes to the location. Of the two
    such reflections (to μ, or to −μ and back) the one that is far from degenerate is taken. Gradients reach both
    arguments. Projecting a random vector on the tangent space instead would give gradients with infinite variance for
    D = 3.

    Args:
        loc: unit vectors, shape (..., D), D ≥ 2. Around the zero vector, points are uniform on the sphere.
        versine: one minus the cosine of the angle, from 0 to 2, shape (...).

    Returns:
        Unit vectors, shape (..., D).

    Source: Davidson and others, Hyperspherical Variational Auto-Encoders (2018), algorithm 1; the choice of reflection
    is ours.
    """
    normal = torch.randn_like(loc)
    tangent = torch.nn.functional.normalize(normal[..., 1:], dim=-1)
    sine = (versine * (2 - versine)).clamp_min(torch.finfo(versine.dtype).tiny).sqrt()
    around_axis = torch.cat([(1 - versine).unsqueeze(-1), sine.unsqueeze(-1) * tangent], -1)
    squared = torch.linalg.vecdot(loc, loc)
    uniform = torch.nn.functional.normalize(normal, dim=-1)
    around_axis = torch.where((squared < 0.5).unsqueeze(-1), uniform, around_axis)
    sign = torch.where(loc[..., :1] < 0, -1.0, 1.0).to(loc.dtype)
    mirror = torch.cat([loc[..., :1] + sign, loc[..., 1:]], -1)
    along = torch.linalg.vecdot(mirror, around_axis) / (0.5 * torch.linalg.vecdot(mirror, mirror))
    return sign * (along.unsqueeze(-1) * mirror - around_axis)
