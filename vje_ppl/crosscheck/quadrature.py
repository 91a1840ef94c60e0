"""Integrals of densities over R^D and over the unit sphere, by quadrature.

Integrals over R^D run over direction and log-radius of the standardized vector, y = log ρ:

    ∫ p(x) dx = Π_j scale_j ∫_sphere dω ∫ dy ρ^D p(loc + scale ρ ω),

where the trapezoidal rule in y converges exponentially, since the integrand is analytic and decays exponentially both
ways. For an isotropic density the integrand does not depend on ω, so one direction is enough, for any D. On the unit
sphere, with loc on it, an isotropic density depends on the angle θ alone,

    ∫_sphere p = |S^(D−2)| ∫ sin^(D−2) θ p(θ) dθ,     θ = π / (1 + e^(−y)).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import gammaln, logsumexp

#: Log density in nats of points (M, D), shape (M,).
LogDensity = Callable[[np.ndarray], np.ndarray]


def log_integral_over_space(
    log_density: LogDensity, loc: np.ndarray, scale: np.ndarray, tail: float, isotropic: bool = False
) -> float:
    """Return the log of the integral of a density over R^D.

    Args:
        log_density: the log density to integrate.
        loc: where to centre the quadrature, shape (D,).
        scale: its scale along each feature, shape (D,).
        tail: how fast the mass beyond ρ decays: at least as ρ^(−tail).
        isotropic: whether the density depends only on the standardized radius; required for D > 3.

    Raises:
        ValueError: if D > 3 and the density is not isotropic.
    """
    dim = len(loc)
    if dim > 3 and not isotropic:
        raise ValueError(f"Quadrature of an anisotropic density expects D of 2 or 3, got {dim}.")
    centre, step = 0.5 * math.log(dim), min(0.1, 0.4 / math.sqrt(dim))
    y = np.arange(centre - 40 / dim - 3, centre + 40 / min(tail, 10) + 3, step)
    directions, log_weights = _one_direction(dim) if isotropic else _directions(dim)
    points = loc + scale * (np.exp(y)[:, None, None] * directions)
    values = log_density(points.reshape(-1, dim)).reshape(len(y), -1)
    return float(logsumexp(values + dim * y[:, None] + log_weights) + math.log(step) + np.log(scale).sum())


def log_integral_over_sphere(log_density: LogDensity, dim: int, scale: float, to_antipode: bool = False) -> float:
    """Return the log integral over the unit sphere of a density that is isotropic around its location (1, 0, ..., 0).

    Args:
        log_density: the log density to integrate.
        dim: D ≥ 2.
        scale: the approximate width of the density.
        to_antipode: whether the density may grow towards the antipode as fast as the area there vanishes.
    """
    decay, step = dim - 1, min(0.1, 0.3 / math.sqrt(dim))
    y = np.arange(min(math.log(scale), 0.0) - 40 / decay - 6, 30 if to_antipode else 40 / decay + 6, step)
    angle = math.pi / (1 + np.exp(-y))
    beyond = math.pi / (1 + np.exp(y))  # π − θ, without cancellation
    points = np.zeros((len(y), dim))
    points[:, 0], points[:, 1] = np.cos(angle), np.sin(np.minimum(angle, beyond))
    log_jacobian = np.log(angle) + np.log(beyond) - math.log(math.pi)
    log_sine = np.log(np.sin(np.minimum(angle, beyond)))
    values = log_density(points) + (dim - 2) * log_sine + log_jacobian
    return float(logsumexp(values) + math.log(step) + log_sphere_area(dim - 1))


def log_integral_of_product(log_density: LogDensity, loc: np.ndarray, scale: np.ndarray, tail: float) -> float:
    """Return the log integral over R² or R³ of a density with heavy tails along the axes, such as a product.

    The rule is the double-exponential rule x = sinh(π/2 sinh u) for every feature.

    Args:
        log_density: the log density to integrate.
        loc: where to centre the quadrature, shape (D,).
        scale: its scale along each feature, shape (D,).
        tail: how fast the mass beyond x decays along an axis: at least as x^(−tail).

    Source: Takahasi and Mori, Double Exponential Formulas for Numerical Integration (1974).
    """
    dim, step = len(loc), 0.07
    end = math.asinh(80 / (math.pi * tail))  # where x^(−tail) has fallen to e^(−40)
    u = np.arange(-end, end, step)
    inner = 0.5 * math.pi * np.sinh(u)
    line = np.sinh(inner)
    log_weight = np.log(0.5 * math.pi * np.cosh(u) * np.cosh(inner) * step)
    points = np.stack(np.meshgrid(*[line] * dim, indexing="ij"), -1).reshape(-1, dim)
    log_weights = np.ravel(sum(np.meshgrid(*[log_weight] * dim, indexing="ij")))
    return float(logsumexp(log_density(loc + scale * points) + log_weights) + np.log(scale).sum())


def log_sphere_area(dim: int) -> float:
    """Return the log area of the unit sphere of R^dim; log 2 for dim = 1, whose sphere is two points."""
    return math.log(2) + 0.5 * dim * math.log(math.pi) - float(gammaln(0.5 * dim))


def _directions(dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes on the unit sphere of R² or R³, and log weights."""
    azimuth = np.arange(32) * (2 * math.pi / 32)
    circle = np.stack([np.cos(azimuth), np.sin(azimuth)], -1)
    if dim == 2:
        return circle, np.full(32, math.log(2 * math.pi / 32))
    height, weight = np.polynomial.legendre.leggauss(16)
    ring = np.sqrt(1 - height**2)[:, None, None] * circle
    nodes = np.concatenate([ring, np.broadcast_to(height[:, None, None], (16, 32, 1))], -1)
    return nodes.reshape(-1, 3), np.repeat(np.log(weight * 2 * math.pi / 32), 32)


def _one_direction(dim: int) -> tuple[np.ndarray, np.ndarray]:
    direction = np.random.default_rng(dim).standard_normal(dim)
    return (direction / np.linalg.norm(direction))[None], np.array([log_sphere_area(dim)])
