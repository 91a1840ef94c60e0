"""The Normal prior with a learned scale for each feature."""

from __future__ import annotations

import math

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from pyro.nn import PyroModule
from torch import nn


class ARDNormal(PyroModule):
    """`p(s) = Normal(0, diag(scale²))` on R^D, with a learned scale for each feature.

    At the optimum, scale_j² is the mean of μ_j² + σ_j² over images: features that the embedding does not use shrink.

    Base measure: Lebesgue on R^D, over which it integrates to one. Its KL from a diagonal and from a low-rank Normal is
    in closed form.

    Args:
        dim: embedding width D.
        init: initial scale of every feature, positive, in units of the embedding.

    Raises:
        ValueError: if the initial scale is not positive and finite.

    Source: automatic relevance determination as in Bishop, Bayesian PCA (NIPS 1998), with point estimates; as a prior
    of this model: ours.
    """

    def __init__(self, dim: int, init: float = 1.0) -> None:
        super().__init__()
        if not 0 < init < math.inf:
            raise ValueError(
                f"ARDNormal expects a positive initial scale, got {init}; it must be finite, and 1 is the standard "
                f"normal's."
            )
        # A plain parameter, since a PyroParam takes the value that an earlier model left in Pyro's global store.
        self.log_scale = nn.Parameter(torch.full((dim,), math.log(init)))

    def forward(self) -> TorchDistributionMixin:
        """Return the prior, batch shape (), event shape (D,)."""
        scale = self.log_scale.exp()
        return dist.Normal(torch.zeros_like(scale), scale).to_event(1)
