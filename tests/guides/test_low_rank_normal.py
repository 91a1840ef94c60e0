"""The low-rank Normal guide: its covariance, its bounds, its KL."""

from __future__ import annotations

from dataclasses import fields
from functools import partial

import pytest
import scipy.stats
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, kl_divergence

from vje_ppl import SymmetricConditionalELBO
from vje_ppl.distributions import UnitNormal
from vje_ppl.distributions.kl import closed_form_kl
from vje_ppl.guides.diagonal_normal import DiagonalNormalPosterior
from vje_ppl.guides.low_rank_normal import LARGEST_LOADING, LowRankNormal, LowRankNormalPosterior
from vje_ppl.models.likelihoods.polar_student_t import PolarStudentT
from vje_ppl.models.priors.ard_normal import ARDNormal
from vje_ppl.models.priors.standard_normal import StandardNormal
from vje_ppl.models.vje import VJE
from vje_ppl.networks.inference_network import InferenceNetwork

N, D, R = 6, 5, 2


def posterior(size: float = 1.0, dtype: torch.dtype = torch.float64, dim: int = D) -> LowRankNormalPosterior:
    mean, scale, loadings = torch.randn(N, dim), torch.rand(N, dim) + 0.1, size * torch.randn(N, dim, R)
    return LowRankNormalPosterior(mean.to(dtype), scale.to(dtype), loadings.to(dtype))


def dense(of: LowRankNormalPosterior) -> MultivariateNormal:
    """The covariance from correlations, as the docstring says: another way than W Wᵀ + diag(d²)."""
    length = (1 + of.loadings.square().sum(-1)).sqrt()
    correlation = (of.loadings @ of.loadings.mT) / (length[..., None] * length[..., None, :])
    correlation = correlation - torch.diag_embed(correlation.diagonal(dim1=-2, dim2=-1)) + torch.eye(of.mean.shape[-1])
    return MultivariateNormal(of.mean, of.scale[..., None] * correlation * of.scale[..., None, :])


@pytest.mark.parametrize("size", [0.0, 0.1, 1.0, 10.0])
def test_posterior_is_the_normal_of_its_correlations(size):
    given, value = posterior(size), torch.randn(N, D).double()
    distribution, expected = given.distribution(), dense(given)
    assert (distribution.batch_shape, distribution.event_shape) == ((N,), (D,))
    torch.testing.assert_close(distribution.covariance_matrix, expected.covariance_matrix)
    by_scipy = [
        scipy.stats.multivariate_normal.logpdf(*(one.numpy() for one in row))
        for row in zip(value, given.mean, expected.covariance_matrix, strict=True)
    ]
    torch.testing.assert_close(distribution.log_prob(value), torch.tensor(by_scipy))
    assert {field.name for field in fields(given)} == {"mean", "scale", "loadings"}


@pytest.mark.parametrize("size", [0.0, 0.1, 1.0, 10.0])
def test_scale_is_the_marginal_standard_deviation_whatever_the_loadings(size):
    given = posterior(size)
    distribution = given.distribution()
    own = distribution.cov_factor.square().sum(-1) + distribution.cov_diag  # ‖W_j‖² + d_j²
    torch.testing.assert_close(own.sqrt(), given.scale)
    mean, deviation = given.moments()
    assert torch.equal(mean, given.mean)
    assert torch.equal(deviation, given.scale)


def test_without_loadings_it_is_the_diagonal_normal():
    given, value = posterior(0.0), torch.randn(N, D).double()
    diagonal = DiagonalNormalPosterior(given.mean, given.scale).distribution()
    torch.testing.assert_close(given.distribution().log_prob(value), diagonal.log_prob(value))
    kl = closed_form_kl(given.distribution(), UnitNormal(D, value))
    torch.testing.assert_close(kl, closed_form_kl(diagonal, UnitNormal(D, value)))


class Constant(nn.Module):
    """A network that says the same of every embedding."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = nn.Parameter(output)

    def forward(self, embedding: Tensor) -> Tensor:
        return self.output.expand(len(embedding), -1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("dim", [4, 2048])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3, 1e6])
def test_bounded_finite_and_with_finite_gradients_over_many_decades(size, dim, dtype):
    torch.manual_seed(0)
    output = torch.cat([torch.randn(dim), size * torch.randn(3 * dim)])
    guide = LowRankNormal(dim, network=lambda inputs, outputs: Constant(output), rank=2).to(dtype)
    given = guide.infer(torch.randn(2, dim, dtype=dtype))
    log_variance = 2 * given.scale.log()
    assert log_variance.min() >= -8 - 1e-4
    assert log_variance.max() <= 4 + 1e-4
    assert given.loadings.norm(dim=-1).max() <= LARGEST_LOADING * (1 + 1e-6)
    distribution = given.distribution()
    assert (distribution.cov_diag >= 0.0099 * given.scale.square()).all()
    kl = closed_form_kl(distribution, UnitNormal(dim, output.to(dtype)))
    total = kl.sum() + distribution.log_prob(distribution.rsample()).sum()
    (gradient,) = torch.autograd.grad(total, guide.network.output)
    assert torch.isfinite(total)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("dim", [4, 128, 2048])
def test_kl_keeps_its_digits_in_float32(dim):
    given = posterior(3.0, dtype=torch.float32, dim=dim)
    in_double = LowRankNormalPosterior(given.mean.double(), given.scale.double(), given.loadings.double())
    kl, expected = (closed_form_kl(one.distribution(), UnitNormal(dim, one.mean)) for one in (given, in_double))
    # Sums over D features of terms of order one: 4 sqrt(D) roundings of the partial sums, and some in each term.
    assert ((kl - expected).abs() <= (8 + 8 * dim**0.5) * 2.0**-24 * (expected + dim)).all()


PRIORS = {
    "standard_normal": lambda: StandardNormal(D),
    "ard_normal": lambda: ARDNormal(D),
}


@pytest.mark.parametrize("particles", [1, 3], ids=["one_particle", "three_particles"])
@pytest.mark.parametrize("make_prior", PRIORS.values(), ids=PRIORS)
def test_objective_takes_the_closed_form_kl_of_the_dense_normals(make_prior, particles):
    guide, prior = LowRankNormal(D, network=nn.Linear, rank=R).double(), make_prior().double()
    for parameter in prior.parameters():
        nn.init.normal_(parameter, std=0.3)
    views = [torch.randn(N, D).double() for _ in range(2)]
    terms = SymmetricConditionalELBO(num_particles=particles).terms(VJE(prior, PolarStudentT()).double(), guide, *views)
    p = prior()
    p = MultivariateNormal(p.mean.expand(D), torch.diag_embed(p.variance.expand(D)))
    expected = torch.stack([kl_divergence(dense(guide.infer(view)), p) for view in views])
    torch.testing.assert_close(terms.kl, expected)


def test_gradient_of_the_kl_is_that_of_the_dense_normals():
    given = posterior()
    parameters = [parameter.requires_grad_() for parameter in (given.mean, given.scale, given.loadings)]
    ours = torch.autograd.grad(closed_form_kl(given.distribution(), UnitNormal(D, given.mean)).sum(), parameters)
    unit = MultivariateNormal(torch.zeros(D).double(), torch.eye(D).double())
    theirs = torch.autograd.grad(kl_divergence(dense(given), unit).sum(), parameters)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_infers_from_the_network_and_starts_close_to_the_diagonal_normal():
    guide, embedding = LowRankNormal(64).eval(), torch.randn(N, 64)
    given = guide.infer(embedding)
    mean, raw, _ = guide.network_output(embedding).split([64, 64, 4 * 64], dim=-1)
    assert torch.equal(given.mean, mean)
    assert torch.equal(given.scale, guide.bounded_scale(raw))
    assert given.loadings.shape == (N, 64, 4)
    unit = UnitNormal(64, embedding)
    diagonal = closed_form_kl(DiagonalNormalPosterior(given.mean, given.scale).distribution(), unit)
    assert (closed_form_kl(given.distribution(), unit) <= 1.1 * diagonal).all()


def test_network_has_outputs_for_mean_scale_and_each_rank():
    guide = LowRankNormal(D, network=partial(InferenceNetwork, width=2, depth=1), rank=3)
    assert [part.out_features for part in guide.network.modules() if isinstance(part, nn.Linear)] == [2 * D, 5 * D]


def test_declares_latent_in_plate_images_and_does_not_look_at_the_target():
    guide, given = LowRankNormal(D, rank=R), posterior()
    sites = []
    for target in (None, torch.full((N, D), float("nan")).double()):
        torch.manual_seed(1)
        sites.append(poutine.trace(guide).get_trace(given, target).nodes["latent"])
    for site in sites:
        assert [(frame.name, frame.dim, frame.size) for frame in site["cond_indep_stack"]] == [("images", -1, N)]
        assert (site["fn"].batch_shape, site["fn"].event_shape) == ((N,), (D,))
        assert torch.equal(site["value"], sites[0]["value"])


def test_is_factorized_in_float32_under_autocast():
    given = posterior(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = given.distribution()
    torch.testing.assert_close(under_autocast._capacitance_tril, given.distribution()._capacitance_tril)


@pytest.mark.parametrize("rank", [0, -1, D + 1])
def test_an_impossible_rank_is_refused_in_a_sentence(rank):
    with pytest.raises(ValueError, match=f"expects a rank between 1 and the embedding's width {D}, got {rank}"):
        LowRankNormal(D, rank=rank)


def test_full_rank_is_allowed():
    given = LowRankNormal(D, network=nn.Linear, rank=D).infer(torch.randn(N, D))
    assert given.distribution().sample().shape == (N, D)
