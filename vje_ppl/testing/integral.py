"""Integrals of densities: by their own draws, and on the sphere by quadrature."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import betainc
from torch import Tensor

from vje_ppl.testing.nodes import Nodes, across, by_angle, log_sphere_area, on_circle_or_sphere, turned

#: Beyond this many features too few draws lie where a simple density does.
_MOST_FEATURES = 64

#: Log density in nats of points (M, N, D), shape (M, N): each point of each of N images.
LogDensity = Callable[[Tensor], Tensor]


def by_draws(distribution: Any, count: int = 20_000) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Return the integral over R or R^D of a density p, and its standard error, from draws x: the mean of h(x)/p(x).

    It is also far from one if draws do not follow the density. Up to four features, h is uniform on a box, the middle
    half of each feature's draws, so that h/p is bounded and no moment need exist. Few draws would lie in the box of
    more features; h is then Normal, with the draws' medians and quartiles, which serves where p has one mode. h is
    fitted to other draws than those averaged, since it would bias the mean otherwise.

    Args:
        distribution: with `sample` and `log_prob`, batch shape (...) and event shape () or (D,).
        count: number of draws; a quarter of it for more than four features.

    Returns:
        Both of shape (...). The error is infinite where a few draws make up the mean, and in more than 64 dimensions.
    """
    features = distribution.event_shape.numel()
    if features > _MOST_FEATURES:
        return torch.ones(distribution.batch_shape), torch.full(distribution.batch_shape, math.inf)
    count = count if features <= 4 else count // 4
    pilot, draws = distribution.sample((2000,)).detach(), distribution.sample((count,)).detach()
    flat = draws.reshape(count, *distribution.batch_shape, -1)
    low, middle, high = pilot.reshape(2000, *flat.shape[1:]).quantile(flat.new_tensor([0.25, 0.5, 0.75]), dim=0)
    if features <= 4:
        inside = ((flat >= low) & (flat <= high)).all(-1)
        log_h = torch.where(inside, -(high - low).log().sum(-1), -math.inf)
    else:
        log_h = torch.distributions.Normal(middle, (high - low) / 1.349).log_prob(flat).sum(-1)
    with torch.no_grad():
        return _mean((log_h - distribution.log_prob(draws)).exp())


def over_sphere_by_draws(
    distribution: Any, axis: Float[Tensor, "N D"], count: int = 10_000
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Return the integral of a density over the unit sphere and its error, like `by_draws`; h is uniform on a cap.

    The cap lies around the axis and holds half of the draws, whose density it needs to be bounded away from zero there.

    Args:
        distribution: with `sample` and `log_prob`, batch shape (N,) and event shape (D,).
        axis: unit vectors around which the caps lie, shape (N, D).
        count: number of draws.
    """
    pilot, draws = distribution.sample((2000,)).detach(), distribution.sample((count,)).detach()
    edge = (pilot * axis).sum(-1).quantile(0.5, dim=0)
    dim = axis.shape[-1]
    log_cap = log_sphere_area(dim) + torch.as_tensor(_cap_share(edge.numpy(), dim)).log()
    with torch.no_grad():
        inside = (draws * axis).sum(-1) >= edge
        return _mean(torch.where(inside, (-log_cap - distribution.log_prob(draws)).exp(), 0.0))


def _mean(ratio: Float[Tensor, "*draws_and_batch"]) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Return the mean and its standard error, which is infinite where one draw is more than a fiftieth of the sum."""
    error = ratio.std(0) / math.sqrt(len(ratio))
    uneven = ratio.amax(0) > 0.02 * ratio.sum(0)
    return ratio.mean(0), torch.where(uneven, math.inf, error)


def over_circle_or_sphere(log_density: LogDensity, images: int, dim: int) -> Float[Tensor, " N"]:
    """Return the integral over the unit sphere of R² or R³ of any density, by quadrature; for scales above 0.2 or so.

    Args:
        log_density: of points (M, N, D), in float64.
        images: N.
        dim: D, 2 or 3.
    """
    return _by_nodes(log_density, on_circle_or_sphere(images, dim))


def over_sphere_by_angle(log_density: LogDensity, axis: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
    """Return the integral over the unit sphere of a density that depends on the angle to an axis alone, by quadrature.

    Args:
        log_density: of points (M, N, D), in float64.
        axis: unit vectors, shape (N, D).
    """
    return _by_nodes(log_density, by_angle(axis))


def _by_nodes(log_density: LogDensity, nodes: Nodes) -> Float[Tensor, " N"]:
    with torch.no_grad():
        return (log_density(nodes.points) + nodes.log_volume).logsumexp(0).exp()


def is_zonal(log_density: LogDensity, axis: Float[Tensor, "N D"]) -> bool:
    """Return whether a density on the sphere depends only on the angle to an axis, judged by a few points."""
    angle = torch.linspace(0.05, 3.0, 9, dtype=torch.float64)
    with torch.no_grad():
        one, other = (log_density(turned(axis, angle, across(axis))) for _ in range(2))
    return torch.allclose(one, other, rtol=1e-9, atol=1e-9)


def _cap_share(cosine: np.ndarray, dim: int) -> np.ndarray:
    """Return the share of the unit sphere that lies in the cap of points with at least this cosine to its axis."""
    half = 0.5 * betainc((dim - 1) / 2, 0.5, np.clip(1 - cosine**2, 0, 1))
    return np.where(cosine >= 0, half, 1 - half)
