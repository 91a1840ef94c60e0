"""What the port's Student-t inherits is as accurate as its density, up to the Normal; by SciPy."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats
from jax import random

from vje_ppl.numpyro_port.distributions import (
    DiagonalStudentT,
    PowerSpherical,
    SphericalCauchy,
    SphericalStudentT,
    StudentT,
    VonMisesFisher,
)

DF = np.array([0.5, 1.0, 2.5, 29.0, 31.0, 999.0, 1001.0, 1e6, 1e8, math.inf])
COMPILER_OPTIONS = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
VALUES = np.array([-100.0, -5.0, 0.2999, 0.3, 1.0, 9.0, 30.0])
PROBABILITIES = np.array([1e-4, 0.01, 0.3, 0.4999, 0.5, 0.6, 0.9, 0.999])


def reference(df: float) -> Any:
    """SciPy's Student-t; the Normal from where they agree to 1e-8."""
    return scipy.stats.t(df, 0.3, 2.0) if df < 1e7 else scipy.stats.norm(0.3, 2.0)


@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
def test_moments_entropy_and_probabilities_are_scipys(double):
    precision = 1e-8 if double else 5e-6
    with jax.enable_x64(double):

        def everything(df: Any, values: Any, probabilities: Any) -> Any:
            given = StudentT(df[:, None], 0.3, 2.0)
            moments = given.entropy()[:, 0], given.variance[:, 0], given.mean[:, 0]
            return *moments, given.cdf(values), given.icdf(probabilities), given.sample(random.key(0), (5,))

        arguments = [jnp.asarray(one) for one in (DF, VALUES, PROBABILITIES)]
        # Compiled once rather than an operation at a time, and quickly, since it runs once.
        found = jax.jit(everything).lower(*arguments).compile(compiler_options=COMPILER_OPTIONS)(*arguments)
        entropy, variance, mean, cdf, icdf, draws = map(np.asarray, found)
        assert np.isfinite(draws).all()
    for row, df in enumerate(DF):
        theirs = reference(df)
        rounding = precision + 2 / df * (df > 1e7)  # by which the Normal differs
        np.testing.assert_allclose(entropy[row], theirs.entropy(), rtol=rounding, atol=rounding)
        np.testing.assert_allclose(cdf[row], theirs.cdf(VALUES), rtol=0, atol=rounding)
        tail = np.minimum(PROBABILITIES, 1 - PROBABILITIES) * theirs.std() if df > 2 else 1.0
        off = np.abs(icdf[row] - theirs.ppf(PROBABILITIES)) / np.maximum(1, np.abs(theirs.ppf(PROBABILITIES)))
        assert (off <= 20 * rounding * np.maximum(1, 1e-3 / np.asarray(tail))).all()
        if df > 2:
            np.testing.assert_allclose(variance[row], theirs.var(), rtol=rounding)
        else:
            np.testing.assert_equal(variance[row], math.inf if df > 1 else math.nan)
        np.testing.assert_allclose(mean[row], 0.3 if df > 1 else math.nan, rtol=1e-6)


def test_infinite_degrees_of_freedom_are_the_normal():
    loc, scale, value = jnp.asarray([0.6, 0.8, 0.0]), jnp.asarray([0.5, 1.0, 2.0]), jnp.asarray([[0.0, 1.0, 0.0]])
    normal = dist.Normal(loc, scale).to_event(1)

    @jax.jit
    def everything(df: Any) -> Any:
        joint, single = DiagonalStudentT(df, loc, scale), StudentT(df, loc, scale).to_event(1)
        both = [(one.log_prob(value), one.variance, one.sample(random.key(0))) for one in (joint, single)]
        slope = jax.grad(lambda df: DiagonalStudentT(df, loc, scale).log_prob(value[0]))(df)
        on_sphere = SphericalStudentT(df, loc, 0.5).log_prob(value), VonMisesFisher(loc, 4.0).log_prob(value)
        return both, slope, on_sphere, normal.log_prob(value)

    both, slope, on_sphere, expected = everything(math.inf)
    for log_prob, variance, draw in both:
        np.testing.assert_allclose(log_prob, expected, rtol=1e-6)
        np.testing.assert_allclose(variance, normal.variance, rtol=1e-6)
        assert jnp.isfinite(draw).all()
    assert slope == 0
    np.testing.assert_allclose(*on_sphere, rtol=1e-5)


@pytest.mark.parametrize("concentration", [math.inf, math.nan, np.array([1.0, math.inf])], ids=str)
@pytest.mark.parametrize("made", [VonMisesFisher, PowerSpherical, SphericalCauchy])
def test_concentrations_that_are_not_finite_are_refused(made, concentration):
    with pytest.raises(ValueError, match="expects finite concentrations"):
        made(jnp.asarray([0.0, 1.0, 0.0]), concentration)


MIXED = {
    "integer_loc": (np.array([0, 1, 0]), 2.5, np.ones(3)),
    "only_integers": (np.array([0, 1, 0]), 3, np.ones(3, int)),
    "numpys_number": (np.array([0, 1, 0]), np.float32(2.5), np.ones(3)),
    "float32_shape": (np.array([0.0, 1.0, 0.0]), np.float32(2.1), np.ones(3, np.float32)),
}


@pytest.mark.parametrize(("loc", "df", "scale"), MIXED.values(), ids=MIXED)
def test_parameters_are_promoted(loc, df, scale):
    value = np.array([1.0, 0.0, 0.0])
    with jax.enable_x64(True):
        for ours in (DiagonalStudentT(df, loc, scale), StudentT(df, loc, scale).to_event(1)):
            theirs = scipy.stats.multivariate_t(loc, np.eye(3), float(df)).logpdf(value)
            if not isinstance(ours, DiagonalStudentT):
                theirs = scipy.stats.t(float(df), loc, scale).logpdf(value).sum()
            found, draw = jax.jit(lambda ours=ours: (ours.log_prob(value), ours.sample(random.key(0))))()
            assert float(found) == pytest.approx(theirs, rel=1e-12)
            assert draw.dtype == np.float64
