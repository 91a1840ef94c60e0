"""The kernel (1 + c u)^(−a) on the unit sphere of R^D, with u = (1 − cosine)/2: its integral, moments and draws.

The Student-t and the spherical Cauchy have this kernel. With h = (D−1)/2, its integral over the sphere is

    ∫ (1 + c u)^(−a) dx = |S^(D−2)| 2^(D−2) ∫ u^(h−1) (1−u)^(h−1) (1 + c u)^(−a) du        over 0 < u < 1
                        = |S^(D−2)| 2^(D−2) B(h, h) ₂F₁(a, h; 2h; −c).

In t = log(u/(1−u)) the integrand, u^h (1−u)^h (1 + c u)^(−a), is analytic for |Im t| < π, has one mode and falls
exponentially on either side, so the trapezoidal rule converges exponentially. Mode, curvature and the slopes of the
tails have closed forms, which determine where a fixed number of nodes is placed. All values are computed relative to
those at the mode, because large terms would cancel otherwise: with u₀ the mode, x = t − t₀ and E = exp(x) − 1,

    u − u₀ = u₀ (1 − u₀) E / (1 + u₀ E)
    log of the integrand − log at the mode = h (x − 2 log(1 + u₀ E)) − a log(1 + c (u − u₀) / (1 + c u₀)).

The nodes are constants to autograd, which differentiates the integrand at the nodes. These derivatives are exact, to
any order.

Source: the integral is NIST DLMF 15.6.1; the quadrature is ours.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from vje_ppl.distributions.sphere import log_sphere_area

#: The number of cells of the grid for drawing; a power of two.
_CELLS = 1024


class ZonalNodes(NamedTuple):
    """Nodes and weights of the kernel's integral over the sphere.

    Attributes:
        mode: u₀, where the integrand in t is largest, between 0 and 1, shape (...). A constant to autograd.
        log_odds: t at K nodes, evenly spaced and ascending, shape (..., K). Constants to autograd.
        log_weight: log of the mass at each node in units of `log_unit`, in nats, shape (..., K).
        log_unit: shape (...), in nats, such that Σ_k exp(log_unit + log_weight_k) is the integral over the sphere of
            ((1 + c u)/(1 + c u₀))^(−a).
    """

    mode: Float[Tensor, "*batch"]
    log_odds: Float[Tensor, "*batch K"]
    log_weight: Float[Tensor, "*batch K"]
    log_unit: Float[Tensor, "*batch"]


def zonal_nodes(
    power: Float[Tensor, "*#batch"], rate: Float[Tensor, "*#batch"], dim: int, count: int | None = None
) -> ZonalNodes:
    """Place nodes where the kernel's mass is, and return them with their weights.

    Args:
        power: a > (D−1)/2, any shape.
        rate: c ≥ 0, broadcastable with a.
        dim: D ≥ 2.
        count: number of nodes K; by default, enough for an integral exact to rounding for any a and c:
            65 in float32 and 147 in float64 for D = 512, and more for D < 20, where the tails are long.

    Returns:
        Nodes and weights, for the broadcast shape.
    """
    power, rate = torch.broadcast_tensors(power, rate)
    half, depth = 0.5 * (dim - 1), -math.log(torch.finfo(power.dtype).eps)
    count = math.ceil(depth * (4 + 0.2 * depth / half)) if count is None else count
    with torch.no_grad():
        excess = (power - half) * rate
        mode = 2 * half / (2 * half + excess + torch.hypot(excess, 2 * half * (1 + rate).sqrt()))
        falling = power * mode * (1 - mode) * rate / (1 + rate * mode)
        curvature = 2 * half * mode * (1 - mode) + falling * ((1 - mode) / (1 + rate * mode) - mode).clamp_min(0)
        # The nodes reach to where the integrand has fallen to rounding. It falls like a Normal at first, then with
        # slope h on the left and at the far right; from the mode to u = 1/2, which is far for small ν and σ, with slope
        # a − h.
        left = (2 * depth / curvature).sqrt() + depth / half
        centre = mode.log() - (-mode).log1p()
        right = left + torch.minimum(depth / (power - half), -centre)
        step = (left + right) / (count - 1)
        x = torch.arange(count, dtype=step.dtype, device=step.device) * step.unsqueeze(-1) - left.unsqueeze(-1)
        growth = x.expm1()
        spread = (mode.unsqueeze(-1) * growth).log1p()
        away = (mode * (1 - mode)).unsqueeze(-1) * growth * (-spread).exp()  # u − u₀
        log_measure = half * (x - 2 * spread)
        log_unit = log_sphere_area(dim - 1) - math.log(2) + half * (4 * mode * (1 - mode)).log() + step.log()
    kernel = (away * (rate / (1 + rate * mode)).unsqueeze(-1)).log1p()
    return ZonalNodes(mode, centre.unsqueeze(-1) + x, log_measure - power.unsqueeze(-1) * kernel, log_unit)


def log_zonal_integral(
    power: Float[Tensor, "*#batch"], rate: Float[Tensor, "*#batch"], dim: int
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Return `log ∫ ((1 + c u)/(1 + c u₀))^(−a) dx` over the unit sphere of R^D, and u₀.

    `log_kernel` at the same u₀, minus this integral, is a log density that integrates to one.

    Args:
        power: a > (D−1)/2, any shape.
        rate: c ≥ 0, broadcastable with a.
        dim: D ≥ 2.

    Returns:
        The log integral in nats, and u₀, between 0 and 1 and a constant to autograd; each in the broadcast shape.
    """
    nodes = zonal_nodes(power, rate, dim)
    return nodes.log_unit + nodes.log_weight.logsumexp(-1), nodes.mode


def log_kernel(
    power: Float[Tensor, "*#batch"],
    rate: Float[Tensor, "*#batch"],
    share: Float[Tensor, "*draws"],
    mode: Float[Tensor, "*#batch"],
) -> Float[Tensor, "*all"]:
    """Return `−a log((1 + c u)/(1 + c u₀))`, in nats, of shares u from 0 to 1; gradients reach a, c and u."""
    beyond = share >= mode
    # The ratio of the larger to the smaller loses no digits.
    far, near = torch.where(beyond, share, mode), torch.where(beyond, mode, share)
    log_ratio = ((far - near) * (rate / (1 + rate * near))).log1p()
    return power * torch.where(beyond, -log_ratio, log_ratio)


def zonal_moments(
    power: Float[Tensor, "*#batch"], rate: Float[Tensor, "*#batch"], dim: int
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Return moments of a point on the unit sphere of R^D whose density is proportional to the kernel.

    Args:
        power: a > (D−1)/2, any shape.
        rate: c ≥ 0, broadcastable with a.
        dim: D ≥ 2.

    Returns:
        The mean cosine, the variance of the cosine, and the variance along any direction perpendicular to the axis;
        each in the broadcast shape.
    """
    nodes = zonal_nodes(power, rate, dim)
    weight, share = nodes.log_weight.softmax(-1), nodes.log_odds.sigmoid()
    mean = (weight * share).sum(-1)
    along = 4 * (weight * (share - mean.unsqueeze(-1)).square()).sum(-1)
    across = 4 * (weight * share * nodes.log_odds.neg().sigmoid()).sum(-1) / (dim - 1)
    return 1 - 2 * mean, along, across


def draw_share(
    power: Float[Tensor, "*#batch"], rate: Float[Tensor, "*#batch"], dim: int, shape: tuple[int, ...]
) -> Float[Tensor, "*draws"]:
    """Draw u = (1 − cosine)/2 of points on the unit sphere of R^D whose density is proportional to the kernel.

    The distribution function of t is inverted on a grid of 1024 cells, with a constant density in each cell. The cells
    of all draws are found together, by bisection, so no step waits for a device.

    Args:
        power: a > (D−1)/2, any shape.
        rate: c ≥ 0, broadcastable with a.
        dim: D ≥ 2.
        shape: the shape of the draws, to which a and c broadcast.

    Returns:
        Shares from 0 to 1, in the requested shape, without gradients.
    """
    with torch.no_grad():
        nodes = zonal_nodes(power, rate, dim, _CELLS)
        below = nodes.log_weight.softmax(-1).cumsum(-1)
        first = torch.arange(0, below.numel(), _CELLS, device=below.device).reshape(below.shape[:-1]).expand(shape)
        probability, within = torch.rand((2, *shape), dtype=below.dtype, device=below.device)
        cell, span = torch.zeros_like(first), _CELLS // 2
        while span:
            passed = below.flatten()[first + cell + (span - 1)] <= probability * below[..., -1]
            cell, span = cell + span * passed, span // 2
        start = nodes.log_odds[..., 0]
        step = (nodes.log_odds[..., -1] - start) / (_CELLS - 1)
        return (start + step * (cell + (within - 0.5))).sigmoid()
