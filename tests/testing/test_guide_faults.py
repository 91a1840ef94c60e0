"""Guides with one fault each, and the check that must name it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn
from torch.distributions.transforms import Transform

from tests.helpers.named import assert_named
from vje_ppl.guides.diagonal_normal import DiagonalNormal, DiagonalNormalPosterior
from vje_ppl.guides.flow import Flow
from vje_ppl.networks.inference_network import InferenceNetwork
from vje_ppl.testing import ConformanceError, check_guide


class Sound(DiagonalNormal):
    def __init__(self, dim: int, encoder: nn.Module | None = None) -> None:
        super().__init__(dim, encoder, network=partial(InferenceNetwork, width=2, depth=1))


class NegativeScale(Sound):
    def infer(self, embedding: Tensor) -> Any:
        mean, raw = self.network_output(embedding).chunk(2, dim=-1)
        return DiagonalNormalPosterior(mean, raw)


@dataclass(frozen=True)
class Unlike:
    """A posterior that checks nothing of what it is given."""

    mean: Tensor
    scale: Tensor

    def distribution(self) -> Any:
        return dist.Normal(self.mean, self.scale).to_event(1)


class ScaleOfOtherShape(Sound):
    def infer(self, embedding: Tensor) -> Any:
        posterior = super().infer(embedding)
        return Unlike(posterior.mean, posterior.scale[:, :1])


class WithoutDistribution(Sound):
    def infer(self, embedding: Tensor) -> Any:
        return super().infer(embedding).mean


class Wide(DiagonalNormalPosterior):
    """Draws twice as wide as it says."""

    def distribution(self) -> Any:
        return dist.Normal(self.mean, 2 * self.scale).to_event(1)


class Shifted(DiagonalNormalPosterior):
    def distribution(self) -> Any:
        return dist.Normal(self.mean + 0.2 * self.scale, self.scale).to_event(1)


class Stretch(Transform):
    """Forgets its log-determinant."""

    bijective = True
    domain = codomain = torch.distributions.constraints.real_vector

    def _call(self, x: Tensor) -> Tensor:
        return x

    def _inverse(self, y: Tensor) -> Tensor:
        return y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return 0 * x.sum(-1) + 0.2


class OffByALogDeterminant(DiagonalNormalPosterior):
    def distribution(self) -> Any:
        return dist.TransformedDistribution(dist.Normal(self.mean, self.scale).to_event(1), [Stretch()])


def with_posterior(posterior_type: type) -> type:
    def infer(self: Sound, embedding: Tensor) -> Any:
        posterior = DiagonalNormal.infer(self, embedding)
        return posterior_type(posterior.mean, posterior.scale)

    return type(posterior_type.__name__, (Sound,), {"infer": infer})


class OutsideThePlate(Sound):
    def forward(self, posterior: Any, target: Tensor | None = None) -> Tensor:
        return pyro.sample("latent", posterior.distribution())


class OtherName(Sound):
    def forward(self, posterior: Any, target: Tensor | None = None) -> Tensor:
        with pyro.plate("images", posterior.mean.shape[-2], dim=-1):
            return pyro.sample("hidden", posterior.distribution())


class NotReparameterized(Sound):
    def forward(self, posterior: Any, target: Tensor | None = None) -> Tensor:
        with pyro.plate("images", posterior.mean.shape[-2], dim=-1):
            return pyro.sample("latent", posterior.distribution().has_rsample_(False))


class OtherDistribution(Sound):
    def forward(self, posterior: Any, target: Tensor | None = None) -> Tensor:
        with pyro.plate("images", posterior.mean.shape[-2], dim=-1):
            return pyro.sample("latent", dist.Laplace(posterior.mean, posterior.scale / 2**0.5).to_event(1))


class UnboundedScale(Sound):
    def infer(self, embedding: Tensor) -> Any:
        mean, raw = self.network_output(embedding).chunk(2, dim=-1)
        return DiagonalNormalPosterior(mean, (raw + embedding).exp())


class ImagesMeet(Sound):
    def infer(self, embedding: Tensor) -> Any:
        return super().infer(embedding - embedding.mean(0))


class InHalfPrecision(Sound):
    def network_output(self, embedding: Tensor) -> Tensor:
        return self.network(embedding)


class FixedPrecision(Sound):
    def infer(self, embedding: Tensor) -> Any:
        posterior = super().infer(embedding)
        return replace(posterior, scale=posterior.scale.double())


class UnusedParameter(Sound):
    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.unused = nn.Parameter(torch.tensor(1.0))


class Detached(Sound):
    def infer(self, embedding: Tensor) -> Any:
        return super().infer(embedding.detach())


FAULTS = {
    WithoutDistribution: {"infers_a_posterior"},
    ScaleOfOtherShape: {"infers_a_posterior"},
    NegativeScale: {"scale_is_positive"},
    OutsideThePlate: {"declares_the_latent"},
    OtherName: {"declares_the_latent"},
    NotReparameterized: {"declares_the_latent"},
    OtherDistribution: {"distribution_is_that_of_the_site"},
    with_posterior(Wide): {"draws_have_its_moments"},
    with_posterior(Shifted): {"draws_have_its_moments"},
    with_posterior(OffByALogDeterminant): {"density_is_that_of_its_draws"},
    UnboundedScale: {"is_finite_under_stress"},
    ImagesMeet: {"images_do_not_meet"},
    InHalfPrecision: {"infers_in_float32_under_autocast"},
    FixedPrecision: {"keeps_the_dtype", "infers_in_float32_under_autocast", "works_in_the_objective"},
    UnusedParameter: {"works_in_the_objective"},
}


@pytest.mark.parametrize(("faulty", "checks"), FAULTS.items(), ids=lambda one: getattr(one, "__name__", ""))
def test_fault_is_named_by_the_check_that_is_about_it(faulty, checks):
    with pytest.raises(ConformanceError) as caught:
        check_guide(faulty(3))
    assert_named(caught.value, checks)


@pytest.mark.parametrize("dim", [2, 3, 16])
@pytest.mark.parametrize("sound", [Sound, Flow], ids=lambda one: one.__name__)
def test_sound_guides_pass(sound, dim):
    assert not check_guide(sound(dim)).failed


def test_guide_with_an_encoder_takes_the_views_it_is_given():
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    views = [torch.randn(5, 1, 4, 4) for _ in range(2)]
    assert not check_guide(Sound(3, encoder), views).failed
    with pytest.raises(ValueError, match="two views of the same four images or more, got shapes"):
        check_guide(Sound(3, encoder), views[:1])
