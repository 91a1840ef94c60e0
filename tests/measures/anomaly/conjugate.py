"""A program of Normals whose evidence and posterior are in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import PyroModule
from torch import Tensor

from vje_ppl.methods.joint_embedding import JointEmbedding
from vje_ppl.program.objective import SymmetricConditionalELBO


@dataclass(frozen=True)
class Posterior:
    """A Normal with its own standard deviations, `spread`; `scale` is the likelihood's alone."""

    mean: Tensor
    scale: Tensor
    spread: Tensor

    def distribution(self):
        return dist.Normal(self.mean, self.spread).to_event(1)

    def moments(self):
        return self.mean, self.spread


class _Guide(PyroModule):
    def forward(self, posterior, target=None):
        with pyro.plate("images", posterior.mean.shape[-2], dim=-1):
            return pyro.sample("latent", posterior.distribution())


class _Model(PyroModule):
    def forward(self, posterior, target=None):
        with pyro.plate("images", posterior.scale.shape[-2], dim=-1):
            zero = torch.zeros(posterior.scale.shape[-1], dtype=posterior.scale.dtype)
            latent = pyro.sample("latent", dist.Normal(zero, zero + 1).to_event(1))
            pyro.sample("embedding", dist.Normal(latent, posterior.scale).to_event(1), obs=target)


#: s ~ Normal(0, I); z | s ~ Normal(s, diag(scale²)).
PROGRAM = JointEmbedding(_Model(), _Guide(), SymmetricConditionalELBO())
