"""The diagonal Student-t against Pyro's dense one, SciPy, mpmath, and its own draws."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pyro
import pytest
import scipy.integrate
import scipy.stats
import torch
from pyro.distributions import MultivariateStudentT, TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from vje_ppl.distributions import DiagonalStudentT

DFS = [0.1, 0.5, 1.0, 2.5, 30.0, 1e3]
DIMS = [1, 2, 7, 64]


def parameters(dim: int, batch: tuple[int, ...] = (5,), dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    """Location, scale over three decades, and values from close by to far in the tail."""
    generator = torch.Generator().manual_seed(dim)
    loc = torch.randn(*batch, dim, generator=generator, dtype=torch.float64)
    scale = 10 ** (3 * torch.rand(*batch, dim, generator=generator, dtype=torch.float64) - 2)
    far = 10 ** (4 * torch.rand(*batch, 1, generator=generator, dtype=torch.float64) - 2)
    value = loc + far * scale * torch.randn(*batch, dim, generator=generator, dtype=torch.float64)
    return loc.to(dtype), scale.to(dtype), value.to(dtype)


def sum_of_terms(df: float, loc: Tensor, scale: Tensor, value: Tensor) -> Tensor:
    """The absolute values of what the textbook formula adds up, which is what rounding is relative to."""
    dim = loc.shape[-1]
    gammas = abs(math.lgamma((df + dim) / 2)) + abs(math.lgamma(df / 2)) + dim / 2 * abs(math.log(df * math.pi))
    squared = ((value - loc) / scale).square().sum(-1)
    return gammas + scale.log().abs().sum(-1) + (df + dim) / 2 * torch.log1p(squared / df)


def dense(df: float | Tensor, loc: Tensor, scale: Tensor, **options: bool) -> MultivariateStudentT:
    return MultivariateStudentT(df, loc, torch.diag_embed(scale), **options)


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("df", DFS)
def test_log_prob_equals_pyros_dense_student_t(df, dim):
    loc, scale, value = parameters(dim)
    error = DiagonalStudentT(df, loc, scale).log_prob(value) - dense(df, loc, scale).log_prob(value)
    assert (error.abs() <= 1e-10 * sum_of_terms(df, loc, scale, value)).all()


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("df", DFS)
def test_log_prob_equals_scipy(df, dim):
    loc, scale, value = parameters(dim)
    expected = [
        scipy.stats.multivariate_t.logpdf(x, m, np.diag(s**2), df)
        for x, m, s in zip(value.numpy(), loc.numpy(), scale.numpy(), strict=True)
    ]
    error = DiagonalStudentT(df, loc, scale).log_prob(value) - torch.tensor(expected, dtype=torch.float64)
    assert (error.abs() <= 1e-10 * sum_of_terms(df, loc, scale, value)).all()


@pytest.mark.parametrize("dim", [2, 64])
@pytest.mark.parametrize("df", [1e3, 1e5, 1e8, 1e12])
def test_log_prob_keeps_its_digits_where_gammas_are_huge(df, dim):
    loc, scale, value = parameters(dim, ())
    with mpmath.workdps(60):
        nu, one = mpmath.mpf(df), mpmath.mpf(1)
        features = zip(value.tolist(), loc.tolist(), scale.tolist(), strict=True)
        squared = sum(((mpmath.mpf(x) - mpmath.mpf(m)) / mpmath.mpf(s)) ** 2 for x, m, s in features)
        expected = (
            mpmath.loggamma((nu + dim) / 2)
            - mpmath.loggamma(nu / 2)
            - dim * one / 2 * mpmath.log(nu * mpmath.pi)
            - sum(mpmath.log(mpmath.mpf(s)) for s in scale.tolist())
            - (nu + dim) / 2 * mpmath.log1p(squared / nu)
        )
    # No term grows with the degrees of freedom but (nu + D)/2 log(1 + m/nu), and that only to m/2.
    terms = dim + scale.log().abs().sum() + (df + dim) / 2 * torch.log1p(float(squared) / torch.tensor(df).double())
    error = DiagonalStudentT(df, loc, scale).log_prob(value).item() - float(expected)
    assert abs(error) <= 1e-13 * terms.item()


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("df", [*DFS, 1e6])
def test_float32_errs_by_no_more_than_rounding(df, dim):
    loc, scale, value = parameters(dim, dtype=torch.float32)
    df32 = torch.tensor(df, dtype=torch.float32)
    exact = DiagonalStudentT(df32.double(), loc.double(), scale.double()).log_prob(value.double())
    # With unit roundoff u: a standardized difference has relative error 2u, its square 5u, a sum of D squares D u more,
    # and their quotient by nu u more; log(1 + x) turns relative into absolute error at most one to one, and its own
    # rounding is 2u. The sum of D logarithms errs by D u of their absolute sum, the gammas by 16u of D + 1.
    u = torch.finfo(torch.float32).eps / 2
    squared = ((value.double() - loc.double()) / scale.double()).square().sum(-1)
    tail = (df + dim) / 2 * ((dim + 6) * (squared / (squared + df)) + 4 * torch.log1p(squared / df))
    logs = (dim + 3) * scale.double().log().abs().sum(-1)
    # For few degrees of freedom the gammas are taken apart, with terms as large as D/2 log(nu/2).
    gammas = 16 * (dim + 1) * (1 + abs(math.log(min(df, 32) / 2)) + max(0.0, math.lgamma(dim / 2 + 16) / (dim + 1)))
    error = DiagonalStudentT(df32, loc, scale).log_prob(value).double() - exact
    assert (error.abs() <= u * (tail + logs + gammas)).all()


@pytest.mark.parametrize("df", [0.3, 1.0, 31.9, 32.1, 1e4])
def test_gradients_pass_gradcheck(df):
    loc, scale, value = (tensor.requires_grad_() for tensor in parameters(3, (2,)))
    df = torch.tensor([[df], [2 * df]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda *arguments: DiagonalStudentT(*arguments[:3]).log_prob(arguments[3]), (df, loc, scale, value)
    )


def test_one_scale_for_all_features_counts_once_a_feature():
    value = torch.randn(3, 5)
    shared = DiagonalStudentT(2.0, torch.zeros(5), torch.tensor([0.2]))
    spelled_out = DiagonalStudentT(2.0, torch.zeros(5), torch.full((5,), 0.2))
    torch.testing.assert_close(shared.log_prob(value), spelled_out.log_prob(value))


OPERATIONS = {
    "expand_by": lambda d: d.expand_by((4,)),
    "to_event": lambda d: d.to_event(1),
    "expand_to_event": lambda d: d.expand((3, 2)).to_event(2),
    "mask": lambda d: d.mask(torch.tensor([True, False])),
    "mask_expand": lambda d: d.mask(torch.tensor([True, False])).expand((3, 2)),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_behaves_under_pyros_operations_as_the_dense_one(operation):
    loc, scale, value = parameters(3, (2,))
    df = torch.tensor([3.0, 7.0]).double()
    ours, theirs = operation(DiagonalStudentT(df, loc, scale)), operation(dense(df, loc, scale))
    assert (ours.batch_shape, ours.event_shape, ours.event_dim) == (
        theirs.batch_shape,
        theirs.event_shape,
        theirs.event_dim,
    )
    assert ours.shape((6,)) == theirs.shape((6,))
    assert ours.has_rsample
    assert ours.has_enumerate_support == theirs.has_enumerate_support
    for sample_shape in [(), (6,), (6, 1)]:
        shape = torch.Size(sample_shape)
        assert ours.sample(shape).shape == ours.rsample(shape).shape == theirs.rsample(shape).shape
    torch.testing.assert_close(ours.log_prob(value), theirs.log_prob(value))
    torch.testing.assert_close(ours.mean, theirs.mean)
    torch.testing.assert_close(ours.variance, theirs.variance)


MISTAKES = {
    "df_of_zero": lambda student_t: student_t(0.0, torch.zeros(3), torch.ones(3)),
    "negative_df": lambda student_t: student_t(torch.tensor([1.0, -1.0]), torch.zeros(2, 3), torch.ones(3)),
    "loc_not_a_number": lambda student_t: student_t(1.0, torch.tensor([math.nan, 0.0]), torch.ones(2)),
    "value_not_a_number": lambda student_t: student_t(1.0, torch.zeros(2), torch.ones(2)).log_prob(
        torch.tensor([math.nan, 0.0])
    ),
    "value_of_other_width": lambda student_t: student_t(1.0, torch.zeros(3), torch.ones(3)).log_prob(torch.zeros(2)),
    "value_of_other_batch": lambda student_t: student_t(1.0, torch.zeros(4, 3), torch.ones(3)).log_prob(
        torch.zeros(5, 3)
    ),
    "expanded_value_not_a_number": lambda student_t: (
        student_t(1.0, torch.zeros(2), torch.ones(2)).expand((2,)).log_prob(torch.tensor([math.nan, 0.0]))
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_validation_refuses_what_the_dense_one_refuses(mistake):
    with pytest.raises(ValueError):  # noqa: PT011 (the messages are torch's)
        mistake(dense)
    with pytest.raises(ValueError):  # noqa: PT011
        mistake(DiagonalStudentT)


def test_validation_refuses_a_scale_of_zero():
    with pytest.raises(ValueError, match="scale"):
        DiagonalStudentT(1.0, torch.zeros(3), torch.tensor([1.0, 0.0, 1.0]))


def test_impossible_expansion_raises_what_the_dense_one_raises():
    with pytest.raises(RuntimeError, match="expand"):
        dense(1.0, torch.zeros(2, 3), torch.ones(3)).expand((4,))
    with pytest.raises(RuntimeError, match="expand"):
        DiagonalStudentT(1.0, torch.zeros(2, 3), torch.ones(3)).expand((4,))


def test_validation_can_be_left_out_and_survives_expand():
    unchecked = DiagonalStudentT(-1.0, torch.zeros(2), torch.ones(2), validate_args=False)
    assert unchecked.expand((3,)).log_prob(torch.full((2,), math.nan)).isnan().all()


def test_scalar_parameters_are_refused_in_a_sentence():
    with pytest.raises(ValueError, match="expects loc and scale with a last dimension of features"):
        DiagonalStudentT(1.0, torch.tensor(0.0), torch.tensor(1.0))


def test_constraints_are_those_of_the_dense_one():
    assert DiagonalStudentT.support is MultivariateStudentT.support is constraints.real_vector
    for name in ("df", "loc"):
        assert DiagonalStudentT.arg_constraints[name] is MultivariateStudentT.arg_constraints[name]
    scale = DiagonalStudentT.arg_constraints["scale"]
    assert scale.event_dim == 1
    assert scale.check(torch.tensor([[0.1, 2.0], [0.1, -2.0], [0.0, 1.0]])).tolist() == [True, False, False]
    assert issubclass(DiagonalStudentT, TorchDistribution)


@pytest.mark.parametrize(
    "shapes", [((), (3,), (3,)), ((4,), (3,), (3,)), ((2, 1), (4, 3), (3,)), ((), (5, 1, 3), (4, 3))], ids=str
)
def test_infer_shapes_says_what_construction_gives(shapes):
    df, loc, scale = shapes
    made = DiagonalStudentT(torch.ones(df), torch.zeros(loc), torch.ones(scale))
    inferred = DiagonalStudentT.infer_shapes(df=df, loc=loc, scale=scale)
    assert inferred == (made.batch_shape, made.event_shape)
    assert inferred == MultivariateStudentT.infer_shapes(df=df, loc=loc, scale_tril=(*scale, scale[-1]))


def test_moments_exist_where_the_dense_ones_do():
    df = torch.tensor([0.5, 1.0, 1.5, 2.0, 2.5, 50.0])
    loc, scale = torch.randn(6, 3), torch.rand(6, 3) + 0.1
    ours, theirs = DiagonalStudentT(df, loc, scale), dense(df, loc, scale)
    torch.testing.assert_close(ours.mean, theirs.mean, equal_nan=True)
    torch.testing.assert_close(ours.variance, theirs.variance, equal_nan=True)
    assert ours.mean.isnan()[:2].all()
    assert torch.isfinite(ours.mean[2:]).all()
    assert ours.variance.isinf()[2:4].all()
    assert torch.isfinite(ours.variance[4:]).all()


def test_expand_copies_nothing():
    distribution = DiagonalStudentT(1.0, torch.zeros(3), torch.ones(3))
    expanded = distribution.expand((1000, 1000))
    assert expanded.loc.data_ptr() == distribution.loc.data_ptr()
    assert expanded.scale.data_ptr() == distribution.scale.data_ptr()


def test_a_plain_number_of_degrees_of_freedom_takes_the_dtype_of_loc():
    distribution = DiagonalStudentT(0.7, torch.zeros(3).double(), torch.ones(3).double())
    assert distribution.df.dtype == torch.float64
    assert distribution.df.item() == 0.7


def test_a_plate_broadcasts_it():
    with pyro.plate("images", 5):
        draw = pyro.sample("direction", DiagonalStudentT(1.0, torch.zeros(3), torch.ones(3)))
    assert draw.shape == (5, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("dim", [2, 64, 2048])
def test_values_and_gradients_are_finite_over_many_decades(dim, dtype):
    df = torch.logspace(-1, 6, 8, dtype=dtype).reshape(-1, 1, 1).requires_grad_()
    scale = torch.logspace(-4, 2, 7, dtype=dtype).reshape(-1, 1, 1).repeat(1, 1, dim).requires_grad_()
    direction = torch.nn.functional.normalize(torch.randn(dim, dtype=dtype), dim=0)
    loc = direction.clone().requires_grad_()
    distance = torch.cat([torch.zeros(1, dtype=dtype), torch.logspace(-6, 4, 11, dtype=dtype)])
    value = (loc.detach() + distance.unsqueeze(-1) * torch.roll(direction, 1)).requires_grad_()
    log_prob = DiagonalStudentT(df, loc, scale).log_prob(value)
    assert log_prob.shape == (8, 7, 12)
    assert torch.isfinite(log_prob).all()
    for gradient in torch.autograd.grad(log_prob.sum(), (df, loc, scale, value)):
        assert torch.isfinite(gradient).all()


def test_draws_are_finite_at_the_heaviest_tails():
    loc, scale = torch.zeros(4, requires_grad=True), torch.ones(4, requires_grad=True)
    df = torch.tensor(0.1, requires_grad=True)
    sample = DiagonalStudentT(df, loc, scale).rsample(torch.Size([10_000]))
    assert torch.isfinite(sample).all()


def test_cost_grows_with_the_features_not_with_their_square():
    dim = 200_000  # a matrix of features by features would take 160 GB
    loc = torch.zeros(dim, requires_grad=True)
    scale = torch.ones(dim, requires_grad=True)
    distribution = DiagonalStudentT(1.0, loc, scale)
    distribution.log_prob(distribution.rsample().detach()).backward()
    assert loc.grad.shape == scale.grad.shape == (dim,)
    assert distribution.mean.shape == distribution.variance.shape == (dim,)
