"""Differences of log-gammas and of digammas that keep their digits at large arguments."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

#: From here on, Stirling's series with five terms is exact to about 1e-16.
_STIRLING_FROM = 16.0


def _stirling_remainder(x: Tensor) -> Tensor:
    """Return `log Γ(x) − [(x − ½) log x − x + ½ log 2π]` for x ≥ 16: 1/(12x) − 1/(360x³) + ..."""
    inverse = x.reciprocal()
    square = inverse.square()
    series = 1 / 12 + square * (-1 / 360 + square * (1 / 1260 + square * (-1 / 1680 + square * (1 / 1188))))
    return inverse * series


def log_gamma_ratio(x: Float[Tensor, "*#batch"], shift: Float[Tensor, "*#batch"]) -> Float[Tensor, ...]:
    """`log Γ(x + a) − log Γ(x) − a log x`, which tends to 0 as x grows.

    Subtracting two `lgamma` loses every digit of the difference once log Γ(x) is of the order of 1/ε (x ≈ 5e5 in
    float32: 0.16 nats). From x = 16 on, Stirling's series is subtracted analytically instead.

    Args:
        x: positive, any shape.
        shift: the shift a ≥ 0, broadcastable with x.

    Returns:
        The difference, in nats, in the broadcast shape.

    Source: ours; the series is NIST DLMF 5.11.1.

    Example:
        >>> log_gamma_ratio(torch.tensor([1e-3, 1.0, 1e8]), torch.tensor(0.5))
        tensor([-2.8829, -0.1208,  0.0000])
    """
    is_small = x < _STIRLING_FROM  # chosen rather than clamped: a clamp has no gradient at its bound
    small = torch.where(is_small, x, _STIRLING_FROM)
    direct = torch.lgamma(small + shift) - torch.lgamma(small) - shift * small.log()
    large = torch.where(is_small, _STIRLING_FROM, x)
    stirling = (
        (large + shift - 0.5) * torch.log1p(shift / large)
        - shift
        + _stirling_remainder(large + shift)
        - _stirling_remainder(large)
    )
    return torch.where(is_small, direct, stirling)


def digamma_difference(x: Float[Tensor, "*#batch"], shift: Float[Tensor, "*#batch"]) -> Float[Tensor, ...]:
    """`ψ(x + a) − ψ(x)`, which falls as a/x, with the digits of a number of that size.

    Args:
        x: positive, any shape.
        shift: the shift a ≥ 0, broadcastable with x.

    Returns:
        The difference in the broadcast shape.

    Source: ours; the series is NIST DLMF 5.11.2.
    """
    is_small = x < _STIRLING_FROM
    small = torch.where(is_small, x, _STIRLING_FROM)
    direct = torch.digamma(small + shift) - torch.digamma(small)
    large = torch.where(is_small, _STIRLING_FROM, x)
    series = (
        torch.log1p(shift / large)
        + shift / large / (2 * (large + shift))
        + _digamma_remainder(large)
        - _digamma_remainder(large + shift)
    )
    return torch.where(is_small, direct, series)


def _digamma_remainder(x: Tensor) -> Tensor:
    """Return `log x − 1/(2x) − ψ(x)` for x ≥ 16: 1/(12x²) − 1/(120x⁴) + ..."""
    square = x.reciprocal().square()
    return square * (1 / 12 + square * (-1 / 120 + square * (1 / 252 + square * (-1 / 240 + square * (1 / 132)))))


def finite_df(df: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Return degrees of freedom ν, or, where they are infinite, so many that no digit differs from those of the Normal.

    In place of infinity, which formulas multiply with a zero, it is 1/ε⁴ (5e27 in float32); larger ones are too.

    Source: ours.
    """
    return df.clamp_max(torch.finfo(df.dtype).eps ** -4)
