"""Small programs and handlers that several tests share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from pyro.nn import PyroModule, PyroParam
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn
from torch.distributions import constraints

from vje_ppl.distributions import DiagonalStudentT
from vje_ppl.guides.diagonal_normal import DiagonalNormal
from vje_ppl.models.likelihoods.polar_student_t import PolarStudentT
from vje_ppl.models.priors.standard_normal import StandardNormal
from vje_ppl.models.radius import StudentTRadius
from vje_ppl.models.radius_scales import unit
from vje_ppl.models.vje import VJE
from vje_ppl.networks.inference_network import InferenceNetwork


class GivenNoise(Messenger):
    """Draws the site "latent", a Normal, as mean + scale · noise, with noise (…, pairs, N, D) that the test knows."""

    def __init__(self, noise: Tensor) -> None:
        super().__init__()
        self.noise = noise

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] == "latent" and msg["value"] is None:
            fn = msg["fn"]
            normal = (fn.base_dist if isinstance(fn, dist.MaskedDistribution) else fn).base_dist
            msg["value"] = normal.loc + normal.scale * self.noise


class LearnedNormal(PyroModule):
    """A diagonal Normal prior whose location and scale are learned, as a plain parameter and as Pyro's own kind."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.full((dim,), 0.1))
        self.scale = PyroParam(torch.full((dim,), 1.3), constraint=constraints.positive)

    def forward(self) -> dist.TorchDistribution:
        return dist.Normal(self.loc, self.scale).to_event(1)


class StudentTPrior(PyroModule):
    """A prior from which no guide has a divergence in closed form."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self) -> dist.TorchDistribution:
        return dist.StudentT(torch.tensor(5.0).double(), torch.zeros(self.dim).double(), 1.0).to_event(1)


class Disguised(dist.TorchDistribution):
    """A distribution of a type from which no divergence is registered, with the density of another."""

    arg_constraints: ClassVar = {}

    def __init__(self, inner: dist.TorchDistribution) -> None:
        self.inner = inner
        super().__init__(inner.batch_shape, inner.event_shape, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Disguised:
        return Disguised(self.inner.expand(batch_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        return self.inner.log_prob(value)


class DisguisedNormal(LearnedNormal):
    """`LearnedNormal`, of which the objective cannot know that it is one."""

    def forward(self) -> dist.TorchDistribution:
        return Disguised(super().forward())


def small_guide(dim: int, encoder: nn.Module | None = None) -> DiagonalNormal:
    """A guide in float64 with one hidden layer of 2 D."""
    return DiagonalNormal(dim, encoder, network=partial(InferenceNetwork, width=2, depth=1)).double()


def small_model(
    dim: int,
    prior: PyroModule | None = None,
    scale: PyroModule | None = None,
    direction: Callable[..., Any] = DiagonalStudentT,
    radius_scale: Callable[[Tensor, Tensor], Tensor] = unit,
) -> VJE:
    """A polar model in float64."""
    likelihood = PolarStudentT(1.5, direction=direction, radius=StudentTRadius(3.0, scale=radius_scale))
    return VJE(StandardNormal(dim) if prior is None else prior, likelihood, scale).double()
