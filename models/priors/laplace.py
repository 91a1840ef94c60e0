"""The Laplace prior: independent features with a peak at zero."""

from __future__ import annotations

import math

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from pyro.nn import PyroModule
from torch import Tensor


class LaplacePrior(PyroModule):
    """`p(s) = Π_j Laplace(s_j; 0, b)` on R^D, which favours embeddings with few large features.

        log p(s) = −D log(2b) − Σ_j |s_j| / b

    Base measure: Lebesgue on R^D, over which it integrates to one. Its KL from a diagonal and from a low-rank Normal is
    in closed form, through erf.

    Args:
        dim: embedding width D.
        scale: b, positive, in units of the embedding: the mean of |s_j|, not its standard deviation, which is √2 b. By
            default √½, so that features have variance 1 as under the standard normal.

    Raises:
        ValueError: if the scale is not positive and finite.

    Source: ours, as a prior of this model.
    """

    scale: Tensor

    def __init__(self, dim: int, scale: float = math.sqrt(0.5)) -> None:
        super().__init__()
        if not 0 < scale < math.inf:
            raise ValueError(
                f"LaplacePrior expects a positive scale, got {scale}; it must be finite, and 0.7071 gives variance 1."
            )
        self.dim = dim
        self.register_buffer("scale", torch.tensor(float(scale)))

    def forward(self) -> TorchDistributionMixin:
        """Return the prior, batch shape (), event shape (D,)."""
        return dist.Laplace(self.scale.new_zeros(self.dim), self.scale).to_event(1)
