"""The modified Bessel function of order D/2 − 1, in the two forms that densities on the sphere of R^D need.

With v = D/2 − 1, g_k(κ) = Γ(k+1) (2/κ)^k I_k(κ), which is 1 at κ = 0, and r = sqrt(n² + κ²), Debye's expansion is

    log g_n(κ) = (r − n) − n log((n+r)/2n) − ½ log(r/n) + S_n(n/r) − S_n(1),     S_n(p) = Σ_k s_k(p) / n^k,

with polynomials s_k, uniformly in κ. It converges fast for n ≥ 20, and smaller orders follow by downward recurrence of
ρ_k = g_{k+1}/g_k, which is stable:

    1/ρ_k = 1 + κ² ρ_{k+1} / (4 (k+1) (k+2)).

Terms are arranged so that none is larger than the result: nothing overflows or cancels, in float32 too, in value and in
derivatives. All is plain torch, so that gradients of any order exist; the number of operations depends on D alone.

Source: NIST DLMF 10.41.3 (Debye) and 10.29.1 (recurrence); the arrangement is ours.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from vje_ppl.distributions.sphere import log_sphere_area

#: The smallest order at which Debye's expansion is used.
_SMALLEST_ORDER = 20

#: Terms of the expansion: the last, over 20^16, is below 1e-17. At larger orders, or in float32, fewer are taken.
_TERMS = 16


def log_exponential_integral(concentration: Float[Tensor, "*batch"], dim: int) -> Float[Tensor, "*batch"]:
    """`log ∫ exp(κ (μ·x − 1)) dx` over the unit sphere: `D/2 log 2π − v log κ + log I_v(κ) − κ`, with v = D/2 − 1.

    It falls from the log area of the sphere at κ = 0 as −(D−1)/2 log κ; its derivative is A(κ) − 1.

    Args:
        concentration: κ ≥ 0, shape (...).
        dim: D ≥ 2.

    Returns:
        Shape (...), in nats.
    """
    order, steps = 0.5 * dim - 1, _steps(dim)
    n = order + steps
    root = torch.hypot(concentration, torch.full_like(concentration, n))
    growth = concentration * (concentration / (root + n)) / (2 * n)  # (r − n)/2n
    value = -n * (2 * n * growth + concentration) / (root + concentration)  # r − n − κ
    value = value - order * growth.log1p() - 0.5 * (2 * growth).log1p()
    coefficients = _series(n, torch.finfo(concentration.dtype).eps)
    value = value + _polynomial(coefficients, n / root) - sum(coefficients)
    if steps:
        product, _ = _down(concentration, dim)
        value = value + product.log()
    return value + log_sphere_area(dim)


def mean_cosine_rate(concentration: Float[Tensor, "*batch"], dim: int) -> Float[Tensor, "*batch"]:
    """`A(κ)/κ`, where `A(κ) = I_{D/2}(κ) / I_{D/2−1}(κ)` is the mean of μ·x under the density exp(κ μ·x) on the sphere.

    Args:
        concentration: κ ≥ 0, shape (...).
        dim: D ≥ 2.

    Returns:
        Shape (...): 1/D at κ = 0, and falling as 1/κ.
    """
    _, ratio = _down(concentration, dim)
    return ratio / dim


def _down(concentration: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Recur from order n down to v = D/2 − 1; return the product of 2n/(n+r) / ρ_k over k = v, ..., n−1, and ρ_v.

    Each factor lies between 1 and n/(k+1), whereas ρ_k alone falls as 1/κ.
    """
    order, steps = 0.5 * dim - 1, _steps(dim)
    n = order + steps
    root = torch.hypot(concentration, torch.full_like(concentration, n))
    coefficients = _series(n, torch.finfo(concentration.dtype).eps)
    slope = _polynomial([power * one for power, one in enumerate(coefficients)][1:], n / root)
    ratio = 2 * (n + 1) * (1 / (n + root) - 0.5 / root.square() - n / root.square() / root * slope)
    product = torch.ones_like(concentration)
    for step in range(steps):
        k = n - 1 - step
        inverse = 1 + (concentration * ratio) * (concentration / (4 * (k + 1) * (k + 2)))
        product = product * (inverse * (2 * n) / (n + root))
        ratio = inverse.reciprocal()
    return product, ratio


def _steps(dim: int) -> int:
    """Return by how much the order of Debye's expansion exceeds v = D/2 − 1."""
    return max(0, math.ceil(_SMALLEST_ORDER - (0.5 * dim - 1)))


def _polynomial(coefficients: list[float], x: Tensor) -> Tensor:
    """Return the sum of coefficient · x^power, by Horner's rule."""
    value = torch.full_like(x, coefficients[-1])
    for one in reversed(coefficients[:-1]):
        value = value * x + one
    return value


@cache
def _series(order: float, accuracy: float) -> list[float]:
    """Return coefficients, by power of p, of the S_n(p) that sums all terms of Debye's expansion above accuracy/8."""
    total = [0.0]
    for k, term in enumerate(_debye(), 1):
        values = [sum(float(one) * (step / 100) ** power for power, one in enumerate(term)) for step in range(101)]
        if max(map(abs, values)) < accuracy / 8 * order**k:
            break
        total += [0.0] * (len(term) - len(total))
        for power, one in enumerate(term):
            total[power] += float(one) / order**k
    return total


@cache
def _debye() -> list[list[Fraction]]:
    """Return the polynomials s_1, s_2, ... in `Σ_k s_k(p)/n^k = log Σ_k u_k(p)/n^k`; u_k as in DLMF 10.41.9."""
    u = [[Fraction(1)]]
    for _ in range(_TERMS):
        following = [Fraction(0)] * (len(u[-1]) + 3)
        for power, one in enumerate(u[-1]):
            following[power + 1] += one * Fraction(power, 2) + one / (8 * (power + 1))
            following[power + 3] -= one * Fraction(power, 2) + 5 * one / (8 * (power + 3))
        u.append(following)
    s: list[list[Fraction]] = [[]]
    for k in range(1, _TERMS + 1):
        term = list(u[k])
        for j in range(1, k):  # k u_k = Σ_j j s_j u_{k−j}
            for first, one in enumerate(s[j]):
                for second, other in enumerate(u[k - j]):
                    term[first + second] -= Fraction(j, k) * one * other
        s.append(term)
    return s[1:]
