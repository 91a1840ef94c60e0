"""Quadrature over few features, and over the sphere: points, and the volumes that they stand for."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.special import gammaln
from torch import Tensor
from torch.nn.functional import normalize

#: Points on each axis of R and of R², odd so that every second one is a rule of its own.
_ON_LINE, _ON_PLANE = 4001, 201


class Nodes(NamedTuple):
    """Points over a space, the same number for each of N densities on it.

    Attributes:
        points: shape (M, N, D).
        log_volume: log of the volume that each point stands for, shape (M, N).
        coarse: which points, with volumes `growth` times as large, are a rule with steps twice as wide; shape (M,).
        growth: log of that factor.
    """

    points: Float[Tensor, "M N D"]
    log_volume: Float[Tensor, "M N"]
    coarse: Bool[Tensor, " M"]
    growth: float


def on_line_or_plane(centre: Float[Tensor, "N D"], spread: Float[Tensor, "N D"], reach: float | None) -> Nodes:
    """Return trapezoidal rules on R or R², in coordinates in which the steps grow exponentially away from a centre.

    They converge exponentially for smooth densities, and with the square of the step for others.

    Args:
        centre: medians of the densities, D = 1 or 2.
        spread: their interquartile ranges, positive.
        reach: how far from the centre the last points are, for tails that fall exponentially; by default 1e24 times the
            spread, for any tail (`sinh` of `sinh`).
    """
    count = _ON_LINE if centre.shape[-1] == 1 else _ON_PLANE
    t = torch.linspace(-1, 1, count, dtype=torch.float64)[:, None, None]
    if reach is None:
        top = 4.3
        inner, slope = 0.5 * math.pi * (top * t).sinh(), 0.5 * math.pi * top * (top * t).cosh()
    else:
        last = (reach / spread).asinh()
        inner, slope = last * t, last
    along = centre + spread * inner.sinh()
    log_step = (spread * inner.cosh() * slope).log() + math.log(2 / (count - 1))
    even = torch.arange(count) % 2 == 0
    if centre.shape[-1] == 1:
        return Nodes(along, log_step[..., 0], even, math.log(2))
    first, second = (one.flatten() for one in torch.meshgrid(torch.arange(count), torch.arange(count), indexing="ij"))
    points = torch.stack([along[first, :, 0], along[second, :, 1]], -1)
    return Nodes(points, log_step[first, :, 0] + log_step[second, :, 1], even[first] & even[second], math.log(4))


def on_circle_or_sphere(images: int, dim: int) -> Nodes:
    """Build rules on the unit sphere of R² or R³, for densities of scales above 0.2 or so.

    Args:
        images: N, of which each gets the same points.
        dim: D, 2 or 3.
    """
    azimuth = torch.arange(1024, dtype=torch.float64) * (2 * math.pi / 1024)
    points = torch.stack([azimuth.cos(), azimuth.sin()], -1)
    volume = torch.full((1024,), 2 * math.pi / 1024, dtype=torch.float64)
    if dim == 3:
        height, ring = (torch.as_tensor(one) for one in np.polynomial.legendre.leggauss(96))
        circle = points[::8]
        flat = (1 - height.square()).sqrt()[:, None, None] * circle
        up = height[:, None, None].expand(len(height), len(circle), 1)
        points = torch.cat([flat, up], -1).reshape(-1, 3)
        volume = (ring[:, None] * volume[::8] * 8).reshape(-1)
    even = torch.arange(len(points)) % 2 == 0
    log_volume = volume.log().unsqueeze(-1).expand(-1, images)
    return Nodes(points.unsqueeze(1).expand(-1, images, -1), log_volume, even, math.log(2))


def by_angle(axis: Float[Tensor, "N D"]) -> Nodes:
    """Build rules on the unit sphere for densities that depend only on the angle θ to an axis:

        |S^(D−2)| ∫ p(θ) sin^(D−2) θ dθ,    θ = π / (1 + e^(−y)),

    where the trapezoidal rule in y converges exponentially. The points lie on half a great circle from the axis.

    Args:
        axis: unit vectors, shape (N, D).
    """
    dim = axis.shape[-1]
    step, end = min(0.05, 0.25 / math.sqrt(dim)), 40 / (dim - 1)
    y = torch.arange(-end - 10, end + 6, step, dtype=torch.float64)
    angle, beyond = math.pi * torch.sigmoid(y), math.pi * torch.sigmoid(-y)  # θ and π − θ, without cancellation
    log_sine = torch.minimum(angle, beyond).sin().log()
    log_volume = angle.log() + beyond.log() - math.log(math.pi) + (dim - 2) * log_sine + math.log(step)
    log_volume = (log_volume + log_sphere_area(dim - 1)).unsqueeze(-1).expand(-1, len(axis))
    return Nodes(turned(axis, angle, across(axis)), log_volume, torch.arange(len(y)) % 2 == 0, math.log(2))


def across(axis: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
    """Return random unit vectors at right angles to others."""
    random = torch.randn(2, *axis.shape, dtype=axis.dtype)
    random = random - (random * axis).sum(-1, keepdim=True) * axis
    # Of two, the one further from the axis: what drew the axis may have drawn the other as well.
    chosen = normalize(torch.where(torch.lt(*random.norm(dim=-1, keepdim=True)), random[1], random[0]), dim=-1)
    return normalize(chosen - (chosen * axis).sum(-1, keepdim=True) * axis, dim=-1)  # once leaves a residue


def turned(
    axis: Float[Tensor, "N D"], angle: Float[Tensor, " M"], sideways: Float[Tensor, "N D"]
) -> Float[Tensor, "M N D"]:
    """Return unit vectors turned away from an axis by angles in radians, towards unit vectors at right angles to it."""
    angle = angle[:, None, None]
    return angle.cos() * axis + angle.sin() * sideways


def log_sphere_area(dim: int) -> float:
    """Log of the area of the unit sphere of R^dim; log 2 for dim = 1, two points."""
    return math.log(2) + 0.5 * dim * math.log(math.pi) - float(gammaln(0.5 * dim))
