"""The standard normal prior."""

from __future__ import annotations

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from pyro.nn import PyroModule
from torch import Tensor

from vje_ppl.distributions import UnitNormal


class StandardNormal(PyroModule):
    """`p(s) = Normal(0, I)` on R^D.

    Base measure: Lebesgue on R^D, over which it integrates to one. Its KL from a diagonal Normal is in closed form.

    Args:
        dim: embedding width D.

    Source: the paper has a KL term; this default is ours.
    """

    like: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("like", torch.zeros(()), persistent=False)  # follows the module's device and dtype

    def forward(self) -> TorchDistributionMixin:
        """Return the prior, batch shape (), event shape (D,)."""
        return UnitNormal(self.dim, self.like)
