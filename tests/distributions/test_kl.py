"""Closed-form divergences against torch's general formulas, through wrappers, and against draws."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pyro.distributions as dist
import pytest
import scipy.integrate
import scipy.stats
import torch
from pyro.distributions.torch_distribution import ExpandedDistribution, TorchDistribution
from torch import Tensor
from torch.distributions import kl_divergence

from vje_ppl.distributions import DiagonalStudentT, Mixture, UnitNormal
from vje_ppl.distributions.kl import closed_form_kl

BATCH, DIM, RANK = (4,), 5, 2


def diagonal(batch: tuple[int, ...] = BATCH) -> TorchDistribution:
    return dist.Normal(torch.randn(*batch, DIM).double(), torch.rand(*batch, DIM).double() + 0.1).to_event(1)


def low_rank(batch: tuple[int, ...] = BATCH) -> TorchDistribution:
    return dist.LowRankMultivariateNormal(
        torch.randn(*batch, DIM).double(),
        torch.randn(*batch, DIM, RANK).double(),
        torch.rand(*batch, DIM).double() + 0.1,
    )


def unit(batch: tuple[int, ...] = ()) -> TorchDistribution:
    return UnitNormal(DIM, torch.zeros(()).double(), torch.Size(batch))


def as_multivariate_normal(distribution: TorchDistribution) -> torch.distributions.MultivariateNormal:
    """The same Normal with a dense covariance, for torch's general formula."""
    if isinstance(distribution, dist.LowRankMultivariateNormal):
        covariance = distribution.covariance_matrix
    else:
        covariance = torch.diag_embed(distribution.variance)
    return torch.distributions.MultivariateNormal(distribution.mean, covariance)


def general_kl(q: TorchDistribution, p: TorchDistribution) -> Tensor:
    return kl_divergence(as_multivariate_normal(q), as_multivariate_normal(p))


PAIRS = {
    "diagonal_unit": (diagonal, unit),
    "diagonal_expanded_unit": (diagonal, lambda: unit((3, *BATCH))),
    "diagonal_diagonal": (diagonal, diagonal),
    "diagonal_one_diagonal": (diagonal, lambda: diagonal(())),
    "low_rank_unit": (low_rank, unit),
    "low_rank_diagonal": (low_rank, diagonal),
    "low_rank_one_diagonal": (low_rank, lambda: diagonal(())),
    "one_low_rank_diagonal": (lambda: low_rank(()), diagonal),
    "low_rank_low_rank": (low_rank, low_rank),
}


@pytest.mark.parametrize(("make_q", "make_p"), PAIRS.values(), ids=PAIRS)
def test_equals_the_general_formula_of_dense_normals(make_q, make_p):
    q, p = make_q(), make_p()
    kl = closed_form_kl(q, p)
    assert kl.shape == torch.broadcast_shapes(q.batch_shape, p.batch_shape)
    torch.testing.assert_close(kl, general_kl(q, p).expand(kl.shape), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("make_q", "make_p"), PAIRS.values(), ids=PAIRS)
def test_equals_the_mean_over_draws_within_five_standard_errors(make_q, make_p):
    q, p, count = make_q(), make_p(), 20_000
    kl = closed_form_kl(q, p)
    draws = q.expand(kl.shape).sample((count,))
    ratio = q.log_prob(draws) - p.log_prob(draws)
    assert ((ratio.mean(0) - kl).abs() <= 5 * ratio.std(0) / count**0.5).all()


@pytest.mark.parametrize("make_q", [diagonal, low_rank], ids=["diagonal", "low_rank"])
@pytest.mark.parametrize("make_p", [unit, diagonal], ids=["unit", "diagonal"])
def test_gradient_equals_that_of_the_general_formula(make_q, make_p):
    mean = torch.randn(*BATCH, DIM).double().requires_grad_()
    variance = (torch.rand(*BATCH, DIM).double() + 0.1).requires_grad_()
    factor = torch.randn(*BATCH, DIM, RANK).double().requires_grad_()
    if make_q is diagonal:
        q, parameters = dist.Normal(mean, variance.sqrt()).to_event(1), (mean, variance)
    else:
        q, parameters = dist.LowRankMultivariateNormal(mean, factor, variance), (mean, variance, factor)
    p = make_p()
    ours = torch.autograd.grad(closed_form_kl(q, p).sum(), parameters, retain_graph=True)
    theirs = torch.autograd.grad(general_kl(q, p).sum(), parameters)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def laplace(batch: tuple[int, ...] = ()) -> TorchDistribution:
    return dist.Laplace(torch.randn(*batch, DIM).double(), torch.rand(*batch, DIM).double() + 0.2).to_event(1)


def quadrature_kl(loc: float, scale: float, laplace_loc: float, laplace_scale: float) -> float:
    """KL of one Normal from one Laplace, with the kink at an end of the intervals."""
    q, p = scipy.stats.norm(loc, scale), scipy.stats.laplace(laplace_loc, laplace_scale)
    ends = sorted({loc - 12 * scale, loc, loc + 12 * scale, min(max(laplace_loc, loc - 12 * scale), loc + 12 * scale)})
    return sum(
        scipy.integrate.quad(lambda x: q.pdf(x) * (q.logpdf(x) - p.logpdf(x)), *interval, epsabs=1e-12)[0]
        for interval in pairwise(ends)
    )


@pytest.mark.parametrize("scale", [1e-3, 0.3, 20.0])
@pytest.mark.parametrize("loc", [0.0, -0.7, 30.0])
def test_kl_from_the_laplace_equals_quadrature(loc, scale):
    numbers = torch.tensor([[loc], [scale], [0.0], [0.7]], dtype=torch.float64)
    q, p = dist.Normal(*numbers[:2]).to_event(1), dist.Laplace(*numbers[2:]).to_event(1)
    assert closed_form_kl(q, p).item() == pytest.approx(quadrature_kl(loc, scale, 0.0, 0.7), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("make_q", [diagonal, low_rank], ids=["diagonal", "low_rank"])
def test_kl_from_the_laplace_equals_the_mean_over_draws_within_five_standard_errors(make_q):
    q, p, count = make_q(), laplace(), 20_000
    draws = q.sample((count,))
    ratio = q.log_prob(draws) - p.log_prob(draws)
    assert ((ratio.mean(0) - closed_form_kl(q, p)).abs() <= 5 * ratio.std(0) / count**0.5).all()


@pytest.mark.parametrize("make_p", [unit, diagonal, laplace], ids=["unit", "diagonal", "laplace"])
def test_a_low_rank_normal_of_no_rank_is_the_diagonal_one(make_p):
    q, p = diagonal(), make_p()
    none = dist.LowRankMultivariateNormal(q.mean, torch.zeros(*BATCH, DIM, RANK).double(), q.variance)
    torch.testing.assert_close(closed_form_kl(none, p), closed_form_kl(q, p), rtol=1e-12, atol=1e-12)


def test_gradients_of_the_kl_from_the_laplace_pass_gradcheck():
    mean, spread = torch.randn(2, DIM).double(), torch.rand(2, DIM).double() + 0.2
    factor, scale = torch.randn(2, DIM, RANK).double(), torch.rand(DIM).double() + 0.2
    given = [one.requires_grad_() for one in (mean, spread, factor, scale)]

    def both(mean: Tensor, spread: Tensor, factor: Tensor, scale: Tensor) -> tuple[Tensor, ...]:
        p = dist.Laplace(torch.zeros_like(scale), scale).to_event(1)
        diagonal_q = dist.Normal(mean, spread).to_event(1)
        low_rank_q = dist.LowRankMultivariateNormal(mean, factor, spread)
        return tuple(kl for q in (diagonal_q, low_rank_q) if (kl := closed_form_kl(q, p)) is not None)

    assert len(both(*given)) == 2
    assert torch.autograd.gradcheck(both, given)


@pytest.mark.parametrize("scale", [1e-4, 1e2])
@pytest.mark.parametrize("norm", [0.0, 1e-6, 1e4])
@pytest.mark.parametrize("make_p", [unit, diagonal, laplace], ids=["unit", "diagonal", "laplace"])
def test_extreme_posteriors_have_finite_divergences_and_gradients_in_float32(make_p, norm, scale):
    mean = (norm * torch.nn.functional.normalize(torch.randn(DIM), dim=0)).requires_grad_()
    spread = torch.full((DIM,), scale, requires_grad=True)
    p = make_p(())
    for q in (
        dist.Normal(mean, spread).to_event(1),
        dist.LowRankMultivariateNormal(mean, spread.unsqueeze(-1) * torch.ones(DIM, RANK), spread.square()),
    ):
        kl = closed_form_kl(q, p)
        assert torch.isfinite(kl)
        assert all(torch.isfinite(one).all() for one in torch.autograd.grad(kl, (mean, spread)))


@dataclass(frozen=True)
class Wrapping:
    """What is done to q and p, and the elements whose divergence is left."""

    q: object
    p: object
    kept: tuple[bool, bool, bool, bool]


SOME, OTHERS = torch.tensor([True, False, True, True]), torch.tensor([True, True, False, True])
WRAPPINGS = {
    "mask_of_q": Wrapping(lambda q: q.mask(SOME), lambda p: p, (True, False, True, True)),
    "mask_of_p": Wrapping(lambda q: q, lambda p: p.expand(BATCH).mask(SOME), (True, False, True, True)),
    "masks_of_both": Wrapping(
        lambda q: q.mask(SOME), lambda p: p.expand(BATCH).mask(OTHERS), (True, False, False, True)
    ),
    "mask_over_mask": Wrapping(lambda q: q.mask(SOME).mask(OTHERS), lambda p: p, (True, False, False, True)),
    "mask_of_all": Wrapping(lambda q: q.mask(False), lambda p: p, (False,) * 4),
    "mask_of_none": Wrapping(lambda q: q.mask(True), lambda p: p.mask(True), (True,) * 4),
    "expanded": Wrapping(
        lambda q: ExpandedDistribution(q, BATCH), lambda p: ExpandedDistribution(p, BATCH), (True,) * 4
    ),
    "masked_and_expanded": Wrapping(
        lambda q: q.mask(SOME).expand(BATCH), lambda p: p.expand(BATCH), (True, False, True, True)
    ),
}


@pytest.mark.parametrize("make_q", [diagonal, low_rank], ids=["diagonal", "low_rank"])
@pytest.mark.parametrize("wrapping", WRAPPINGS.values(), ids=WRAPPINGS)
def test_sees_through_masks_and_expansions(make_q, wrapping):
    q, p = make_q(), unit()
    kl = closed_form_kl(wrapping.q(q), wrapping.p(p))
    expected = torch.where(torch.tensor(wrapping.kept), general_kl(q, p), 0.0)
    assert kl.shape == BATCH
    torch.testing.assert_close(kl, expected, rtol=1e-10, atol=1e-10)


def test_masked_elements_give_no_gradient():
    mean = torch.zeros(2, DIM).double().requires_grad_()
    q = dist.Normal(mean + 1, torch.ones(()).double()).to_event(1).mask(torch.tensor([True, False]))
    closed_form_kl(q, unit()).sum().backward()
    assert (mean.grad[0] == 1).all()
    assert (mean.grad[1] == 0).all()


REGISTERED_BY_TORCH = {
    "uniform": lambda: dist.Uniform(torch.zeros(4, DIM), torch.rand(4, DIM) + 0.5).to_event(1),
    "laplace": lambda: dist.Laplace(torch.randn(4, DIM), torch.rand(4, DIM) + 0.5).to_event(1),
}


@pytest.mark.parametrize("make_q", REGISTERED_BY_TORCH.values(), ids=REGISTERED_BY_TORCH)
def test_the_unit_normal_leaves_torchs_own_divergences_in_force(make_q):
    q = make_q()
    normal = dist.Normal(torch.zeros(DIM), torch.ones(DIM)).to_event(1)
    kl = closed_form_kl(q, UnitNormal(DIM, torch.zeros(())))
    torch.testing.assert_close(kl, kl_divergence(q, normal))


def test_is_zero_for_the_same_distribution():
    for q in (diagonal(), low_rank()):
        torch.testing.assert_close(closed_form_kl(q, q), torch.zeros(BATCH).double(), rtol=0, atol=1e-12)


NONE_REGISTERED = {
    "student_t_prior": (diagonal, lambda: dist.StudentT(3.0, torch.zeros(DIM), torch.ones(DIM)).to_event(1)),
    "joint_student_t_prior": (diagonal, lambda: DiagonalStudentT(3.0, torch.zeros(DIM), torch.ones(DIM))),
    "mixture_prior": (
        diagonal,
        lambda: Mixture(torch.zeros(3), dist.Normal(torch.randn(3, DIM), torch.ones(3, DIM)).to_event(1)),
    ),
    "mixture_prior_in_a_plate": (
        low_rank,
        lambda: Mixture(torch.zeros(3), dist.Normal(torch.randn(3, DIM), torch.ones(3, DIM)).to_event(1)).expand(BATCH),
    ),
    "student_t_guide": (lambda: DiagonalStudentT(3.0, torch.zeros(4, DIM), torch.ones(DIM)), unit),
    "low_rank_guide_student_t_prior": (low_rank, lambda: dist.StudentT(3.0, torch.zeros(DIM), 1.0).to_event(1)),
    "logistic_guide": (lambda: dist.Logistic(torch.zeros(DIM), torch.ones(DIM)).to_event(1), unit),
    "low_rank_guide_two_dimensional_prior": (
        low_rank,
        lambda: dist.Normal(torch.zeros(4, DIM), torch.ones(4, DIM)).to_event(2),
    ),
}


@pytest.mark.parametrize(("make_q", "make_p"), NONE_REGISTERED.values(), ids=NONE_REGISTERED)
def test_is_none_where_no_closed_form_is_registered(make_q, make_p):
    assert closed_form_kl(make_q(), make_p()) is None
