"""The kernel (1 + c u)^(−a) on the unit sphere of R^D, with u = (1 − cosine)/2: its integral, moments and draws.

Twin of `vje_ppl.distributions.zonal_integral`, which has the derivation.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax, nn, random
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float

from vje_ppl.numpyro_port.distributions.sphere import log_sphere_area

#: The number of cells of the grid for drawing; a power of two.
_CELLS = 1024


class ZonalNodes(NamedTuple):
    """Nodes and weights of the kernel's integral over the sphere; `mode` and `log_odds` are constants to `jax.grad`."""

    mode: Float[Array, "*batch"]
    log_odds: Float[Array, "*batch K"]
    log_weight: Float[Array, "*batch K"]
    log_unit: Float[Array, "*batch"]


def zonal_nodes(
    power: Float[Array, "*#batch"], rate: Float[Array, "*#batch"], dim: int, count: int | None = None
) -> ZonalNodes:
    """Place nodes where the kernel's mass is, and return them with their weights."""
    power, rate = jnp.broadcast_arrays(power, rate)
    half, depth = 0.5 * (dim - 1), -math.log(jnp.finfo(power.dtype).eps)
    count = math.ceil(depth * (4 + 0.2 * depth / half)) if count is None else count
    known_power, known_rate = lax.stop_gradient((power, rate))
    excess = (known_power - half) * known_rate
    mode = 2 * half / (2 * half + excess + jnp.hypot(excess, 2 * half * jnp.sqrt(1 + known_rate)))
    at_mode = 1 + known_rate * mode
    falling = known_power * mode * (1 - mode) * known_rate / at_mode
    curvature = 2 * half * mode * (1 - mode) + falling * jnp.maximum((1 - mode) / at_mode - mode, 0)
    # The nodes reach to where the integrand has fallen to rounding. It falls like a Normal at first, then with slope h
    # on the left and at the far right; from the mode to u = 1/2, which is far for small ν and σ, with slope a − h.
    left = jnp.sqrt(2 * depth / curvature) + depth / half
    centre = jnp.log(mode) - jnp.log1p(-mode)
    right = left + jnp.minimum(depth / (known_power - half), -centre)
    step = (left + right) / (count - 1)
    x = jnp.arange(count, dtype=step.dtype) * step[..., None] - left[..., None]
    growth = jnp.expm1(x)
    spread = jnp.log1p(mode[..., None] * growth)
    away = (mode * (1 - mode))[..., None] * growth * jnp.exp(-spread)  # u − u₀
    log_measure = half * (x - 2 * spread)
    log_unit = log_sphere_area(dim - 1) - math.log(2) + half * jnp.log(4 * mode * (1 - mode)) + jnp.log(step)
    kernel = jnp.log1p(away * (rate / (1 + rate * mode))[..., None])
    return ZonalNodes(mode, centre[..., None] + x, log_measure - power[..., None] * kernel, log_unit)


def log_zonal_integral(
    power: Float[Array, "*#batch"], rate: Float[Array, "*#batch"], dim: int
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """Return `log ∫ ((1 + c u)/(1 + c u₀))^(−a) dx` over the unit sphere of R^D, in nats, and u₀."""
    nodes = zonal_nodes(power, rate, dim)
    return nodes.log_unit + logsumexp(nodes.log_weight, -1), nodes.mode


def log_kernel(
    power: Float[Array, "*#batch"],
    rate: Float[Array, "*#batch"],
    share: Float[Array, "*draws"],
    mode: Float[Array, "*#batch"],
) -> Float[Array, "*all"]:
    """Return `−a log((1 + c u)/(1 + c u₀))`, in nats, of shares u from 0 to 1; gradients reach a, c and u."""
    beyond = share >= mode
    # The ratio of the larger to the smaller loses no digits.
    far, near = jnp.where(beyond, share, mode), jnp.where(beyond, mode, share)
    log_ratio = jnp.log1p((far - near) * (rate / (1 + rate * near)))
    return power * jnp.where(beyond, -log_ratio, log_ratio)


def zonal_moments(
    power: Float[Array, "*#batch"], rate: Float[Array, "*#batch"], dim: int
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"], Float[Array, "*batch"]]:
    """Return the mean and variance of the cosine, and the variance along any direction perpendicular to the axis."""
    nodes = zonal_nodes(power, rate, dim)
    weight, share = nn.softmax(nodes.log_weight), nn.sigmoid(nodes.log_odds)
    mean = (weight * share).sum(-1)
    along = 4 * (weight * jnp.square(share - mean[..., None])).sum(-1)
    across = 4 * (weight * share * nn.sigmoid(-nodes.log_odds)).sum(-1) / (dim - 1)
    return 1 - 2 * mean, along, across


def draw_share(
    key: jax.Array,
    power: Float[Array, "*#batch"],
    rate: Float[Array, "*#batch"],
    dim: int,
    shape: tuple[int, ...],
) -> Float[Array, "*draws"]:
    """Draw u = (1 − cosine)/2 of points on the unit sphere of R^D whose density is proportional to the kernel."""
    nodes = lax.stop_gradient(zonal_nodes(power, rate, dim, _CELLS))
    below = jnp.cumsum(nn.softmax(nodes.log_weight), -1)
    first = jnp.broadcast_to(jnp.arange(0, below.size, _CELLS).reshape(below.shape[:-1]), shape)
    probability, within = random.uniform(key, (2, *shape), below.dtype)
    cell, span = jnp.zeros_like(first), _CELLS // 2
    while span:
        passed = below.ravel()[first + cell + (span - 1)] <= probability * below[..., -1]
        cell, span = cell + span * passed, span // 2
    start = nodes.log_odds[..., 0]
    step = (nodes.log_odds[..., -1] - start) / (_CELLS - 1)
    return nn.sigmoid(start + step * (cell + (within - 0.5)))
