"""A learned mixture of diagonal Normals as prior."""

from __future__ import annotations

import math

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from pyro.nn import PyroModule
from torch import nn

from vje_ppl.distributions import Mixture


class NormalMixture(PyroModule):
    """`p(s) = Σ_k w_k Normal(s; m_k, diag(c_k²))` on R^D, with learned weights, means and scales.

    It starts close to the standard normal: equal weights, scales of 1, and means that are draws from
    Normal(0, spread²/D), other ones for another seed. Components that start alike would stay alike. Far apart, in units
    of their scale, the first to come near the embeddings would take them all, and the others would learn nothing; so
    their distances, about √2 spread, do not grow with D.

    Base measure: Lebesgue on R^D, over which it integrates to one. No KL in closed form: Monte Carlo.

    Args:
        dim: embedding width D.
        components: their number K, at least 1.
        spread: root mean square of the first means' lengths, positive, in units of the embedding.

    Raises:
        ValueError: for no component, or a spread that is not positive and finite.

    Source: ours, as a prior of this model.
    """

    def __init__(self, dim: int, components: int = 10, spread: float = 1.0) -> None:
        super().__init__()
        if components < 1 or not 0 < spread < math.inf:
            raise ValueError(
                f"NormalMixture expects components >= 1 and a positive spread, got {components} and {spread}; both "
                f"must be finite."
            )
        self.logits = nn.Parameter(torch.zeros(components))
        self.loc = nn.Parameter(spread / math.sqrt(dim) * torch.randn(components, dim))
        self.log_scale = nn.Parameter(torch.zeros(components, dim))

    def forward(self) -> TorchDistributionMixin:
        """Return the prior, batch shape (), event shape (D,)."""
        return Mixture(self.logits, dist.Normal(self.loc, self.log_scale.exp()).to_event(1))
