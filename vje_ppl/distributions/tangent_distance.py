"""What a density on a tangent plane of the sphere needs of each vector, with a gradient written by hand.

Autograd would take three times as many operations, most of them on one number per vector. Such an operation costs a GPU
as much as one on a small batch, and a CPU a tenth of a step.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vje_ppl.distributions.sphere import missing_length

#: Coefficients of θ/sin θ in powers of sin²(θ/2): 4ⁿ (n!)² / (2n+1)!.
_SERIES = tuple(4.0**n * math.factorial(n) ** 2 / math.factorial(2 * n + 1) for n in range(9))
_SERIES_BELOW = 0.01


def tangent_distance(
    value: Float[Tensor, "*#batch D"], loc: Float[Tensor, "*#batch D"], scale: Float[Tensor, "*#batch _"]
) -> tuple[Float[Tensor, ...], Float[Tensor, ...]]:
    """Return Σ_j (v_j/scale_j)² and ½ log Σ_j μ_j² scale_j² − Σ_j log scale_j, for v of `TangentStudentT`.

    Their gradients have gradients too, which `differentiable_distance` computes.

    Args:
        value: unit vectors x, shape (..., D).
        loc: unit vectors μ, or zero, shape (..., D), of the broadcast shape of `loc` and `scale`.
        scale: positive, shape (..., D) or (..., 1).

    Returns:
        Two tensors of the broadcast shape (...).
    """
    dtype = torch.promote_types(value.dtype, loc.dtype)
    return _TangentDistance.apply(value.to(dtype), loc.to(dtype), scale.to(dtype))


def differentiable_distance(
    value: Float[Tensor, "*#batch D"], loc: Float[Tensor, "*#batch D"], scale: Float[Tensor, "*#batch _"]
) -> tuple[Float[Tensor, ...], Float[Tensor, ...]]:
    """Return what `tangent_distance` returns, in operations that autograd differentiates any number of times."""
    repeats = loc.shape[-1] // scale.shape[-1]
    squared, _ = mahalanobis(value, loc, scale)
    return squared, 0.5 * variance_along(loc, scale).log() - scale.log().sum(-1) * repeats


class _TangentDistance(torch.autograd.Function):
    """The formulas of `mahalanobis`, with p = sin²(θ/2), or cos²(θ/2) beyond a right angle, so that no digits cancel.

    With h = θ/2, S = Σ_j (t_j/scale_j)² for the tangent t of length sin θ, and sin²θ = 4 p (1 − p), the distance is
    h² S/(p (1 − p)).
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, loc: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        floor = torch.finfo(loc.dtype).eps ** 4
        is_near = torch.linalg.vecdot(value, loc) > 0
        half_sign = (is_near + -0.5).to(loc.dtype)
        chord = torch.addcmul(value, half_sign.unsqueeze(-1), loc, value=-2)
        squared_chord = torch.linalg.vector_norm(chord, dim=-1).square_()
        along = half_sign * squared_chord
        standardized = torch.addcmul(chord, along.unsqueeze(-1), loc).div_(scale)
        squared = torch.linalg.vector_norm(standardized, dim=-1).square_()
        # Opposite to μ, where v has a length and no direction, it is the direction of the smallest scale.
        lifted = torch.where(is_near, squared, torch.add(squared, scale.amin(-1).pow_(-2), alpha=floor))

        share = squared_chord.clamp_min(floor).mul_(0.25)
        small = share.sqrt().asin_()
        half_angle = torch.where(is_near, small, 0.5 * math.pi - small)
        product = (1 - share).mul_(share)
        divisor = product + 0.25 * floor
        factor = half_angle.square().div_(divisor)

        variance = variance_along(loc, scale)
        log_scale = scale.log().sum(-1)
        log_scales = torch.sub(variance.log().mul_(0.5), log_scale, alpha=loc.shape[-1] // scale.shape[-1])
        rows = (half_sign, along, share, half_angle, product, divisor, factor, lifted, variance)
        ctx.save_for_backward(value, loc, scale, chord, standardized, *rows)
        return factor * lifted, log_scales

    @staticmethod
    def backward(ctx: Any, of_distance: Tensor, of_log_scales: Tensor) -> tuple[Tensor | None, ...]:
        value, loc, scale, chord, standardized, *rows = ctx.saved_tensors
        if torch.is_grad_enabled():  # a gradient of the gradient is wanted
            return _differentiable_gradient(ctx, (value, loc, scale), (of_distance, of_log_scales))
        half_sign, along, share, half_angle, product, divisor, factor, lifted, variance = rows
        by_value, by_loc, by_scale = ctx.needs_input_grad
        by_square = (2 * of_distance).mul_(factor)
        # By the squared chord, 4 p: of the angle, less that of the divisor.
        slope = product.rsqrt().mul_(half_angle).mul_(half_sign)
        slope.addcmul_(factor, share - 0.5).mul_(lifted).div_(divisor).mul_(of_distance)
        over_scale = standardized / scale
        slope.addcmul_(half_sign, torch.linalg.vecdot(over_scale, loc).mul_(by_square), value=2)
        by_chord = (over_scale * by_square.unsqueeze(-1)).addcmul_(chord, slope.unsqueeze(-1))
        # The sums of log-scales do not depend on the value, which may have more dimensions.
        weighted = (loc * scale).mul_((of_log_scales / variance).unsqueeze(-1))
        loc_gradient = scale_gradient = None
        if by_loc:
            loc_gradient = (by_chord * half_sign.unsqueeze(-1)).mul_(-2)
            loc_gradient.addcmul_(over_scale, (along * by_square).unsqueeze(-1))
            loc_gradient = torch.addcmul(loc_gradient.sum_to_size(loc.shape), weighted, scale)
        if by_scale:
            of_lengths = (standardized * by_square.unsqueeze(-1)).mul_(over_scale).sum_to_size(loc.shape)
            scale_gradient = weighted.mul_(loc).sub_(of_lengths).addcdiv_(of_log_scales.unsqueeze(-1), scale, value=-1)
            scale_gradient = scale_gradient.sum_to_size(scale.shape)
        return by_chord.sum_to_size(value.shape) if by_value else None, loc_gradient, scale_gradient


def _differentiable_gradient(
    ctx: Any, inputs: tuple[Tensor, ...], gradients: tuple[Tensor, Tensor]
) -> tuple[Tensor | None, ...]:
    """Return the gradient with its own graph."""
    wanted = [one for one, needed in zip(inputs, ctx.needs_input_grad, strict=True) if needed]
    found = iter(torch.autograd.grad(differentiable_distance(*inputs), wanted, gradients, create_graph=True))
    return tuple(next(found) if needed else None for needed in ctx.needs_input_grad)


def variance_along(loc: Float[Tensor, "*#batch D"], scale: Float[Tensor, "*#batch _"]) -> Float[Tensor, "*batch"]:
    """Return Σ_j μ_j² scale_j²; for a loc that is shorter than one, the rest of its length has a variance of one."""
    # Norms have cheaper gradients than dot products of a vector with itself.
    return torch.linalg.vector_norm(loc * scale, dim=-1).square() + missing_length(loc.detach())


def mahalanobis(
    value: Float[Tensor, "*#batch D"], loc: Float[Tensor, "*#batch D"], scale: Float[Tensor, "*#batch _"]
) -> tuple[Float[Tensor, ...], Float[Tensor, ...]]:
    """Return Σ_j (v_j/scale_j)², and log(θ/sin θ), each of shape (...).

    Both are computed from x − μ where that is short, and from x + μ beyond a right angle, so that no digits cancel.
    Opposite to μ, where v has a length and no direction, it is the direction of the smallest scale.
    """
    dtype = torch.promote_types(value.dtype, loc.dtype)
    value, loc = value.to(dtype), loc.to(dtype)
    is_near = torch.linalg.vecdot(value.detach(), loc.detach()) > 0
    sign = torch.where(is_near, 1.0, -1.0).to(loc.dtype).unsqueeze(-1)
    chord = torch.addcmul(value, sign, loc, value=-1)
    squared_chord = torch.linalg.vector_norm(chord, dim=-1).square()
    tangent = torch.addcmul(chord, 0.5 * squared_chord.unsqueeze(-1) * sign, loc)  # of length sin θ
    squared = torch.linalg.vector_norm(tangent / scale, dim=-1).square()
    ratio = _angle_over_sine(torch.where(is_near, squared_chord / 4, 0.25))
    floor = torch.finfo(loc.dtype).eps ** 4
    beyond = torch.where(is_near, 1.0, squared_chord).clamp_min(floor)  # 4 cos²(θ/2)
    angle = math.pi - 2 * (beyond.sqrt() / 2).clamp_max(1.0).asin()
    sine_squared = beyond * (1 - beyond / 4).clamp_min(0.25)
    quotient = (squared + floor * scale.detach().amin(-1) ** -2) / (sine_squared + floor)
    mahalanobis = torch.where(is_near, ratio.square() * squared, angle.square() * quotient)
    return mahalanobis, torch.where(is_near, ratio.log(), angle.log() - 0.5 * sine_squared.log())


def _angle_over_sine(share: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Return θ/sin θ from sin²(θ/2), for θ up to π/2."""
    is_small = share < _SERIES_BELOW
    small = torch.where(is_small, share, _SERIES_BELOW)
    series = torch.zeros_like(small)
    for coefficient in reversed(_SERIES):
        series = series * small + coefficient
    large = torch.where(is_small, _SERIES_BELOW, share).clamp_max(0.5)
    return torch.where(is_small, series, large.sqrt().asin() / (large * (1 - large)).sqrt())
