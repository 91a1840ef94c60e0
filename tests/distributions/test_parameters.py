"""Parameters of mixed types, infinite degrees of freedom and concentrations, in every distribution."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyro.distributions as dist
import pytest
import scipy.stats
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vje_ppl.distributions import (
    DiagonalStudentT,
    Mixture,
    PowerSpherical,
    SphericalCauchy,
    SphericalStudentT,
    StudentT,
    UnitNormal,
    VonMisesFisher,
)
from vje_ppl.distributions.promoted import promoted

#: From a location, a shape parameter (degrees of freedom, or a concentration) and scales.
DISTRIBUTIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "diagonal_student_t": lambda loc, shape, scale: DiagonalStudentT(shape, loc, scale),
    "student_t": lambda loc, shape, scale: StudentT(shape, loc, scale).to_event(1),
    "spherical_student_t": lambda loc, shape, scale: SphericalStudentT(shape, loc, scale[0]),
    "von_mises_fisher": lambda loc, shape, scale: VonMisesFisher(loc, shape),
    "power_spherical": lambda loc, shape, scale: PowerSpherical(loc, shape),
    "spherical_cauchy": lambda loc, shape, scale: SphericalCauchy(loc, shape),
}
LOC, ONES = [0, 1, 0], torch.ones(3)
MIXED: dict[str, tuple[Any, Any, Any, torch.dtype]] = {
    "integer_loc": (torch.tensor(LOC), 2.5, ONES, torch.float32),
    "only_integers": (torch.tensor(LOC), 3, torch.ones(3, dtype=torch.int64), torch.float32),
    "integer_loc_and_numpys_number": (torch.tensor(LOC), np.float32(2.5), ONES, torch.float32),
    "numpys_whole_number": (torch.tensor(LOC).float(), np.int64(3), ONES, torch.float32),
    "float64_shape": (torch.tensor(LOC).float(), torch.tensor(2.1, dtype=torch.float64), ONES, torch.float64),
    "float64_loc": (torch.tensor(LOC).double(), torch.tensor(2.5), ONES, torch.float64),
    "integer_shape": (torch.tensor(LOC).float(), torch.tensor(3), ONES, torch.float32),
    "numpys_arrays": (np.array(LOC, float), 2.5, np.ones(3), torch.float64),
    "number_beside_float64": (torch.tensor(LOC).double(), 2.1, ONES.double(), torch.float64),
}


@pytest.mark.parametrize(("loc", "shape", "scale", "dtype"), MIXED.values(), ids=MIXED)
@pytest.mark.parametrize("make", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS)
def test_parameters_are_promoted_to_one_floating_type(make, loc, shape, scale, dtype):
    given = make(loc, shape, scale)
    expected = make(*(torch.as_tensor(one, dtype=torch.float64) for one in (loc, shape, scale)))
    value = torch.tensor([1.0, 0.0, 0.0])
    assert given.sample((2,)).dtype == given.log_prob(value).dtype == dtype
    tolerance = {torch.float32: 2e-6, torch.float64: 1e-13}[dtype]
    for one in (value, value.double()):
        torch.testing.assert_close(
            given.log_prob(one).double(), expected.log_prob(value.double()), rtol=tolerance, atol=tolerance
        )
    torch.testing.assert_close(given.variance.double(), expected.variance, rtol=1e-5, atol=1e-12, equal_nan=True)
    assert given.expand((4,)).sample().shape == (4, 3)


def test_promotion_keeps_shapes_and_takes_the_widest_type():
    wide = torch.float64
    assert [one.dtype for one in promoted(2, ONES, torch.tensor(1, dtype=wide))] == [wide] * 3
    assert [tuple(one.shape) for one in promoted(2, [1.0, 2.0], torch.ones(2, 1))] == [(), (2,), (2, 1)]
    assert {one.dtype for one in promoted(1, 2)} == {torch.get_default_dtype()}
    assert {one.dtype for one in promoted(ONES.bfloat16(), 2.5)} == {torch.bfloat16}


def test_mixtures_and_the_unit_normal_take_integers():
    mixture = Mixture(torch.tensor([0, 0]), dist.Normal(torch.tensor([[0, 1], [1, 0]]), torch.ones(2, 2)).to_event(1))
    found = mixture.log_prob(torch.tensor([1, 2]))
    expected = np.log(0.5 * np.exp([-1.0, -2.0]).sum()) - math.log(2 * math.pi)
    assert found.item() == pytest.approx(expected, rel=1e-6)
    assert UnitNormal(3, torch.tensor(1)).sample().dtype == torch.get_default_dtype()


DF = [1e-2, 0.5, 1.0, 2.5, 31.0, 33.0, 1e3, 1e6, 1e8, 1e20, math.inf]


def reference(df: float) -> Any:
    """SciPy's Student-t; the Normal from where they agree to 1e-8."""
    return scipy.stats.t(df, 0.3, 2.0) if df < 1e7 else scipy.stats.norm(0.3, 2.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("df", DF)
def test_what_the_student_t_inherits_is_as_accurate_as_its_density(df, dtype):
    ours, theirs = StudentT(torch.tensor(df, dtype=dtype), 0.3, 2.0), reference(df)
    rounding = (1e-6 if dtype is torch.float32 else 1e-8) + 2 / df * (df > 1e7)  # by which the Normal differs
    assert ours.entropy().item() == pytest.approx(theirs.entropy(), rel=rounding, abs=rounding)
    if df > 2:
        assert ours.variance.item() == pytest.approx(theirs.var(), rel=rounding)
        assert ours.stddev.item() == pytest.approx(theirs.std(), rel=rounding)
    assert ours.mean.item() == pytest.approx(0.3 if df > 1 else math.nan, nan_ok=True)
    assert torch.isfinite(ours.sample((100,))).all()


def test_gradient_of_the_entropy_passes_gradcheck():
    df = torch.tensor([0.3, 2.0, 20.0, 31.9, 32.1, 400.0], dtype=torch.float64, requires_grad=True)
    scale = torch.full((6,), 0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda df, scale: StudentT(df, 0.0, scale).entropy(), (df, scale))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_infinite_degrees_of_freedom_are_the_normal(dtype):
    generator = torch.Generator().manual_seed(0)
    loc, value = torch.randn(3, generator=generator, dtype=dtype), torch.randn(20, 3, generator=generator, dtype=dtype)
    scale, df = torch.tensor([0.1, 1.0, 5.0], dtype=dtype), torch.tensor(math.inf, dtype=dtype, requires_grad=True)
    normal = dist.Normal(loc, scale).to_event(1)
    for ours in (DiagonalStudentT(df, loc, scale), StudentT(df, loc, scale).to_event(1)):
        found = ours.log_prob(value)
        torch.testing.assert_close(found, normal.log_prob(value), rtol=20 * torch.finfo(dtype).eps, atol=1e-6)
        torch.testing.assert_close(ours.variance, normal.variance)
        (gradient,) = torch.autograd.grad(found.sum() + ours.rsample().sum(), df)
        assert gradient == 0
    mixed = DiagonalStudentT(torch.tensor([2.0, math.inf], dtype=dtype), loc, scale)
    torch.testing.assert_close(mixed.log_prob(loc)[1], normal.log_prob(loc))
    torch.testing.assert_close(mixed.log_prob(loc)[0], DiagonalStudentT(2.0, loc, scale).log_prob(loc))


@pytest.mark.parametrize("scale", [0.05, 0.5, 5.0])
def test_infinite_degrees_of_freedom_on_the_sphere_are_the_von_mises_fisher(scale):
    generator = torch.Generator().manual_seed(0)
    loc, value = (normalize(torch.randn(n, 4, generator=generator).double(), dim=-1) for n in (1, 9))
    ours, theirs = SphericalStudentT(math.inf, loc, scale), VonMisesFisher(loc, 1 / scale**2)
    torch.testing.assert_close(ours.log_prob(value), theirs.log_prob(value), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ours.mean, theirs.mean)
    torch.testing.assert_close(ours.variance, theirs.variance)
    assert torch.isfinite(ours.sample((5,))).all()


@pytest.mark.parametrize("concentration", [math.inf, math.nan, torch.tensor([1.0, math.inf])], ids=str)
@pytest.mark.parametrize("made", [VonMisesFisher, PowerSpherical, SphericalCauchy])
def test_concentrations_that_are_not_finite_are_refused(made, concentration):
    words = "constraint FiniteNonnegative" if isinstance(concentration, Tensor) else "expects a finite concentration"
    with pytest.raises(ValueError, match=words):
        made(torch.tensor([0.0, 1.0, 0.0]), concentration, validate_args=True)
