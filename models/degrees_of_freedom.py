"""Degrees of freedom of a Student-t site, fixed or learned."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from pyro.nn import PyroModule
from torch import Tensor, nn

#: Bounds of learned degrees of freedom; below, the tail is uselessly heavy, and above, the density is Gaussian. Ours.
LOWEST, HIGHEST = 0.1, 1e4
_MIDDLE, _HALF_WIDTH = 0.5 * math.log(LOWEST * HIGHEST), 0.5 * math.log(HIGHEST / LOWEST)


class DegreesOfFreedom(PyroModule):
    """Degrees of freedom ν of a Student-t: a constant, or one learned number for all images.

    Learned, they are a smooth function of a free parameter x that keeps them in an interval, [0.1, 10⁴]:

        log ν = m + h tanh((x − m) / h),    m the middle of the interval of log ν, h half its width.

    Close to log ν = x around the middle; a ν that has come near an end still gets a gradient.

    Args:
        value: ν, or its initial value if it is learned; positive.
        learned: whether ν is trained with the rest.

    Raises:
        ValueError: if ν is not positive and finite or, if it is learned, not inside the interval.

    Source: small ν: the paper; that it can be learned, and the interval: ours.
    """

    value: Tensor

    def __init__(self, value: float = 1.0, learned: bool = False) -> None:
        super().__init__()
        if not (isinstance(value, int | float | np.number) and 0 < value < math.inf):
            raise ValueError(
                f"A Student-t expects positive degrees of freedom below infinity, got df={value}; 1 is the default, 30 "
                "is close to a Gaussian, and likelihood=polar_normal is Gaussian."
            )
        if learned and not LOWEST < value < HIGHEST:
            raise ValueError(
                f"Learned degrees of freedom must start between {LOWEST:g} and {HIGHEST:g}, got df={value}; start from "
                "another value, or fix it with learn_df=false."
            )
        self.learned = learned
        if learned:
            raw = _MIDDLE + _HALF_WIDTH * math.atanh((math.log(value) - _MIDDLE) / _HALF_WIDTH)
            # A plain parameter, since a PyroParam takes the value that an earlier model left in Pyro's global store.
            self.raw = nn.Parameter(torch.tensor(raw))
        else:
            self.register_buffer("value", torch.tensor(float(value)))

    def learned_number(self) -> Float[Tensor, ""] | None:
        """ν if it is learned, for a run's metrics."""
        return self(torch.float64).detach() if self.learned else None

    def forward(self, dtype: torch.dtype) -> Float[Tensor, "*shape"]:
        """Return ν, positive, shape (), in a dtype: that of the latents, so that normalizers are as exact as the rest.

        Args:
            dtype: a floating point type.
        """
        if not self.learned:
            return self.value.to(dtype)
        raw = self.raw.to(dtype)
        return torch.exp(_MIDDLE + _HALF_WIDTH * torch.tanh((raw - _MIDDLE) / _HALF_WIDTH))
