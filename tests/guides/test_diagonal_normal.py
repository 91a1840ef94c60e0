"""The diagonal Normal guide: embedding, inference, its site."""

from __future__ import annotations

from dataclasses import fields
from functools import partial

import pytest
import scipy.stats
import torch
from pyro import poutine
from torch import nn

from vje_ppl.guides.diagonal_normal import DiagonalNormal, DiagonalNormalPosterior
from vje_ppl.networks.inference_network import InferenceNetwork
from vje_ppl.program.amortized import AmortizedGuide

N, D = 6, 3


class Encoder(nn.Module):
    def __init__(self, dim: int = D) -> None:
        super().__init__()
        self.linear = nn.Linear(12, dim)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(images.flatten(1))


def test_embeds_with_its_encoder():
    encoder = Encoder()
    guide, images = DiagonalNormal(D, encoder), torch.randn(N, 3, 2, 2)
    assert guide.encoder is encoder
    assert torch.equal(guide.embed(images), encoder(images))


def test_without_an_encoder_views_are_embeddings():
    embedding = torch.randn(N, D)
    assert torch.equal(DiagonalNormal(D).embed(embedding), embedding)


def test_an_encoder_of_another_width_is_refused_in_a_sentence():
    with pytest.raises(
        ValueError, match=r"expects embeddings of shape \(images, 3\), got \(6, 4\) from views of shape"
    ):
        DiagonalNormal(D, Encoder(4)).embed(torch.randn(N, 3, 2, 2))


def test_infers_mean_and_bounded_scale_from_the_network():
    guide, embedding = DiagonalNormal(D, log_variance_bounds=(-2.0, 1.0)).eval(), torch.randn(N, D)
    posterior = guide.infer(embedding)
    mean, raw = guide.network(embedding).split(D, dim=-1)
    assert torch.equal(posterior.mean, mean)
    expected = (-0.5 + 1.5 * torch.tanh((raw + 0.5) / 1.5)).div(2).exp()
    torch.testing.assert_close(posterior.scale, expected)


def test_scale_stays_within_its_bounds_for_any_embedding():
    guide = DiagonalNormal(D, log_variance_bounds=(-2.0, 1.0)).eval()
    scale = guide.infer(1e4 * torch.randn(100, D)).scale
    log_variance = 2 * scale.log()
    assert log_variance.min() >= -2 - 1e-6
    assert log_variance.max() <= 1 + 1e-6
    assert guide.bounded_scale.share_at_bound(scale) > 0.5


def test_network_is_built_from_its_numbers_of_inputs_and_outputs():
    guide = DiagonalNormal(D, network=partial(InferenceNetwork, width=2, depth=1, norm="group"))
    assert [part.out_features for part in guide.network.modules() if isinstance(part, nn.Linear)] == [2 * D, 2 * D]
    assert not any(isinstance(part, nn.BatchNorm1d) for part in guide.modules())
    plain = DiagonalNormal(D, network=nn.Linear)
    assert plain.infer(torch.randn(N, D)).mean.shape == (N, D)


def test_posterior_is_a_diagonal_normal():
    posterior = DiagonalNormalPosterior(torch.randn(N, D).double(), torch.rand(N, D).double() + 0.1)
    distribution, value = posterior.distribution(), torch.randn(N, D).double()
    assert (distribution.batch_shape, distribution.event_shape) == ((N,), (D,))
    expected = scipy.stats.norm.logpdf(value.numpy(), posterior.mean.numpy(), posterior.scale.numpy()).sum(-1)
    torch.testing.assert_close(distribution.log_prob(value), torch.tensor(expected))
    assert {field.name for field in fields(posterior)} == {"mean", "scale"}


def test_declares_latent_in_plate_images_and_does_not_look_at_the_target():
    guide, posterior = DiagonalNormal(D), DiagonalNormalPosterior(torch.randn(N, D), torch.rand(N, D) + 0.1)
    sites = []
    for target in (None, torch.zeros(N, D), torch.full((N, D), float("nan"))):
        torch.manual_seed(1)
        sites.append(poutine.trace(guide).get_trace(posterior, target).nodes["latent"])
    for site in sites:
        assert [(frame.name, frame.dim, frame.size) for frame in site["cond_indep_stack"]] == [("images", -1, N)]
        assert (site["fn"].batch_shape, site["fn"].event_shape) == ((N,), (D,))
        assert torch.equal(site["value"], sites[0]["value"])


def test_infers_in_float32_under_autocast():
    guide = DiagonalNormal(D, Encoder())
    with torch.autocast("cpu", torch.bfloat16):
        embedding = guide.embed(torch.randn(N, 3, 2, 2))
        posterior = guide.infer(embedding)
    assert embedding.dtype == torch.bfloat16
    assert posterior.mean.dtype == posterior.scale.dtype == torch.float32


def test_an_empty_interval_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="expects low < high bounds"):
        DiagonalNormal(D, log_variance_bounds=(1.0, -1.0))


def test_is_an_amortized_guide():
    assert issubclass(DiagonalNormal, AmortizedGuide)
