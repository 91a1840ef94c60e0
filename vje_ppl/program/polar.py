"""The polar decomposition of an embedding: its direction and its radius."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

#: The smallest radius to divide by. A latent at the origin then has the direction zero, which is not on the sphere, and
#: a finite gradient. Ours.
SMALLEST_RADIUS = 1e-12


class Polar(NamedTuple):
    """A vector in polar form.

    Attributes:
        direction: unit vectors, shape (..., D); the zero vector where the radius is 0.
        radius: Euclidean norms, shape (...), in the unit of the vector; at least 0.
    """

    direction: Float[Tensor, "*batch D"]
    radius: Float[Tensor, "*batch"]


def to_polar(vector: Float[Tensor, "*batch D"]) -> Polar:
    """Split vectors into direction and radius: `ẑ = z / ‖z‖`, `r = ‖z‖`.

    Args:
        vector: shape (..., D), any finite values.

    Returns:
        `Polar(direction, radius)`, shapes (..., D) and (...).

    Source: the target representation of the paper (abstract and figure 1); the floor on the divisor is ours.

    Example:
        >>> to_polar(torch.tensor([3.0, 4.0]))
        Polar(direction=tensor([0.6000, 0.8000]), radius=tensor(5.))
    """
    return Polar(*_ToPolar.apply(vector))


class _ToPolar(torch.autograd.Function):
    """A third of the operations that autograd would take, backward."""

    @staticmethod
    def forward(ctx: Any, vector: Tensor) -> tuple[Tensor, Tensor]:
        radius = torch.linalg.vector_norm(vector, dim=-1)
        direction = vector / radius.clamp_min(SMALLEST_RADIUS).unsqueeze(-1)
        ctx.save_for_backward(direction, radius)
        return direction, radius

    @staticmethod
    def backward(ctx: Any, of_direction: Tensor, of_radius: Tensor) -> Tensor:
        direction, radius = ctx.saved_tensors
        divisor = radius.clamp_min(SMALLEST_RADIUS)
        along = torch.addcdiv(of_radius, torch.linalg.vecdot(of_direction, direction), divisor, value=-1)
        return torch.addcmul(of_direction / divisor.unsqueeze(-1), along.unsqueeze(-1), direction)
