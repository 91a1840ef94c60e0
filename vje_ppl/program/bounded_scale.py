"""Standard deviations whose logarithm stays in an interval."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

#: A feature is at a bound when its log-variance has covered this share of the way from the middle to that bound.
AT_BOUND = 0.99


class BoundedScale(nn.Module):
    """`log σ² = middle + h tanh((x − middle) / h)`, with h half the width of the interval.

    Close to the identity around the middle, so that a network starts with σ² = exp(x); smooth towards the bounds, so
    that a feature that reached one still gets a gradient. With β < 1 the objective is unbounded as σ → 0 for a
    perfectly predicted target: the lower bound is what stops that.

    Args:
        low: lower bound of log σ², in nats.
        high: upper bound.

    Raises:
        ValueError: if the interval is empty or infinite.

    Source: ours.

    Example:
        >>> BoundedScale(low=-8.0, high=4.0)(torch.tensor([-100.0, -2.0, 100.0]))
        tensor([0.0183, 0.3679, 7.3891])
    """

    def __init__(self, low: float = -8.0, high: float = 4.0) -> None:
        super().__init__()
        if not -math.inf < low < high < math.inf:
            raise ValueError(
                f"BoundedScale expects low < high bounds of the log-variance, got {low} and {high}; both must be "
                f"finite."
            )
        self.middle, self.half_width = (low + high) / 2, (high - low) / 2

    def forward(self, raw: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """Return standard deviations σ, same shape as the raw outputs, within exp(low/2) and exp(high/2)."""
        log_variance = self.middle + self.half_width * torch.tanh((raw - self.middle) / self.half_width)
        return torch.exp(0.5 * log_variance)

    def share_at_bound(self, scale: Float[Tensor, "*batch D"]) -> Float[Tensor, ""]:
        """Return the share, between 0 and 1, of scales that sit at a bound of the interval."""
        return ((2 * scale.log() - self.middle).abs() >= AT_BOUND * self.half_width).float().mean()
