"""The distributions as NumPyro tests its own: oracle, gradient, shapes, jit, vmap, pytree, draws."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import numpyro.distributions as dist
import pytest
from jax import random
from numpyro.distributions import constraints
from scipy import stats

from vje_ppl.numpyro_port.distributions import DiagonalStudentT, StudentT, UnitNormal
from vje_ppl.numpyro_port.distributions.kl import closed_form_kl
from vje_ppl.numpyro_port.distributions.log_gamma import log_gamma_ratio

D = 3
LOC = np.array([0.5, -1.0, 2.0])
SCALE = np.array([0.3, 1.0, 4.0])

CASES = {
    "diagonal": (
        lambda df, loc, scale: DiagonalStudentT(df, loc, scale),
        (np.array(2.5), LOC, SCALE),
        lambda x: stats.multivariate_t.logpdf(x, LOC, np.diag(SCALE**2), 2.5),
    ),
    "diagonal-batch": (
        lambda df, loc, scale: DiagonalStudentT(df, loc, scale),
        (np.array([[0.7], [30.0]]), np.stack([LOC, 2 * LOC, -LOC]), SCALE),
        lambda x: np.stack(
            [
                [
                    stats.multivariate_t.logpdf(x[i, j], loc, np.diag(SCALE**2), df)
                    for j, loc in enumerate([LOC, 2 * LOC, -LOC])
                ]
                for i, df in enumerate([0.7, 30.0])
            ]
        ),
    ),
    "univariate": (
        lambda df, loc, scale: StudentT(df, loc, scale),
        (np.array([0.5, 3.0, 200.0]), LOC, SCALE),
        lambda x: stats.t.logpdf(x, np.array([0.5, 3.0, 200.0]), LOC, SCALE),
    ),
    "factorized": (
        lambda df, loc, scale: StudentT(df, loc, scale).to_event(1),
        (np.array(4.0), LOC, SCALE),
        lambda x: stats.t.logpdf(x, 4.0, LOC, SCALE).sum(-1),
    ),
    "unit-normal": (
        lambda: UnitNormal(D),
        (),
        lambda x: stats.multivariate_normal.logpdf(x, np.zeros(D)),
    ),
}


#: One of each sampler: compiling them takes seconds.
SAMPLED = ("diagonal-batch", "univariate", "unit-normal")


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def _value(distribution, seed=0):
    shape = distribution.batch_shape + distribution.event_shape
    return np.random.default_rng(seed).standard_normal(shape)


def test_log_prob_equals_scipy(case):
    build, arguments, oracle = case
    with jax.enable_x64(True):
        distribution = build(*arguments)
        value = _value(distribution)
        expected = oracle(value)
        assert distribution.log_prob(value).shape == distribution.batch_shape == np.shape(expected)
        np.testing.assert_allclose(distribution.log_prob(value), expected, rtol=1e-12)


def test_gradient_equals_central_differences(case):
    build, arguments, _ = case
    with jax.enable_x64(True):
        value = _value(build(*arguments))

        @jax.jit
        def total(*given):
            return build(*given[:-1]).log_prob(given[-1]).sum()

        given = [jnp.asarray(one) for one in (*arguments, value)]
        for which, found in enumerate(jax.grad(total, range(len(given)))(*given)):
            for place in np.ndindex(given[which].shape):
                step = 1e-6 * max(1.0, abs(float(given[which][place])))
                moved = [list(given), list(given)]
                for side, sign in enumerate((1, -1)):
                    moved[side][which] = given[which].at[place].add(sign * step)
                difference = (total(*moved[0]) - total(*moved[1])) / (2 * step)
                # The difference's own error: step² / 6 times a third derivative, and rounding / step.
                assert float(found[place]) == pytest.approx(float(difference), rel=1e-6, abs=1e-7)


def test_jit_vmap_and_pytree_agree_with_plain_calls(case):
    build, arguments, _ = case
    with jax.enable_x64(True):
        distribution = build(*arguments)
        value = jnp.asarray(_value(distribution))
        plain = distribution.log_prob(value)
        np.testing.assert_allclose(jax.jit(lambda x: build(*arguments).log_prob(x))(value), plain, rtol=1e-13)
        np.testing.assert_allclose(jax.jit(lambda d, x: d.log_prob(x))(distribution, value), plain, rtol=1e-13)
        np.testing.assert_allclose(jax.vmap(distribution.log_prob)(jnp.stack([value] * 2))[1], plain, rtol=1e-13)
        leaves, structure = jax.tree.flatten(distribution)
        rebuilt = jax.tree.unflatten(structure, leaves)
        assert type(rebuilt) is type(distribution)
        assert rebuilt.batch_shape == distribution.batch_shape
        np.testing.assert_array_equal(rebuilt.log_prob(value), plain)


def test_vmap_over_parameters_equals_a_batch():
    with jax.enable_x64(True):
        df, value = jnp.array([0.5, 2.0, 50.0]), jnp.asarray(_value(DiagonalStudentT(1.0, LOC, SCALE)))
        one_by_one = jax.vmap(lambda nu: DiagonalStudentT(nu, LOC, SCALE).log_prob(value))(df)
        np.testing.assert_allclose(one_by_one, DiagonalStudentT(df, LOC, SCALE).log_prob(value), rtol=1e-13)


@pytest.mark.parametrize("name", SAMPLED)
def test_expand_and_sample_shapes(name):
    build, arguments, _ = CASES[name]
    distribution = build(*arguments)
    assert distribution.sample(random.key(0), (5,)).shape == (5, *distribution.batch_shape, *distribution.event_shape)
    wider = distribution.expand((7, *distribution.batch_shape))
    assert wider.batch_shape == (7, *distribution.batch_shape)
    draw = wider.sample(random.key(1))
    assert wider.log_prob(draw).shape == wider.batch_shape
    np.testing.assert_allclose(wider.log_prob(draw)[3], distribution.log_prob(draw[3]), rtol=1e-6)
    assert jnp.all(distribution.support(draw[0]))


def test_draws_follow_the_density():
    count = 20_000

    @jax.jit
    def draw(df):
        squared = jnp.square((DiagonalStudentT(df, LOC, SCALE).sample(random.key(3), (count,)) - LOC) / SCALE)
        return squared.sum(-1), (StudentT(df, 1.0, 2.0).sample(random.key(4), (count,)) - 1) / 2

    for df in (0.8, 3.0, 1e5):
        with jax.enable_x64(True):
            squared, standard = map(np.asarray, draw(jnp.asarray(df)))
        # Deterministic, since the keys are fixed; a right sampler fails one key in 10⁴.
        assert stats.kstest(squared / D, stats.f(D, df).cdf).pvalue > 1e-4
        assert stats.kstest(standard, stats.t(df).cdf).pvalue > 1e-4


def test_draws_carry_gradients_to_every_parameter():
    def total(df, loc, scale):
        return DiagonalStudentT(df, loc, scale).sample(random.key(0), (4,)).sum()

    gradients = jax.grad(total, (0, 1, 2))(jnp.array(3.0), jnp.asarray(LOC), jnp.asarray(SCALE))
    assert all(jnp.all(jnp.isfinite(one)) and jnp.all(one != 0) for one in gradients)


def test_draws_are_finite_at_small_df():
    assert jnp.all(jnp.isfinite(DiagonalStudentT(0.1, np.zeros(2), np.ones(2)).sample(random.key(0), (10_000,))))
    assert jnp.all(jnp.isfinite(StudentT(0.1).sample(random.key(0), (10_000,))))


def test_moments_exist_where_they_should():
    distribution = DiagonalStudentT(np.array([0.9, 1.5, 4.0]), LOC, SCALE)
    assert np.isnan(distribution.mean).all(-1).tolist() == [True, False, False]
    np.testing.assert_allclose(distribution.mean[1], LOC, rtol=1e-6)
    assert np.isinf(distribution.variance[1]).all()
    np.testing.assert_allclose(distribution.variance[2], 2 * SCALE**2, rtol=1e-6)


def test_constraints_are_checked():
    with pytest.raises(ValueError, match="scale"):
        DiagonalStudentT(1.0, LOC, -SCALE, validate_args=True)
    with pytest.raises(ValueError, match="df"):
        DiagonalStudentT(-1.0, LOC, SCALE, validate_args=True)
    with pytest.raises(ValueError, match="last dimension of features"):
        DiagonalStudentT(1.0, 0.0, 1.0)
    assert constraints.is_dependent(DiagonalStudentT.support) is False


@pytest.mark.parametrize("shift", [0.5, 8.0, 1024.0])
def test_log_gamma_ratio_keeps_its_digits_in_float32(shift):
    x = np.array([0.05, 0.5, 15.95, 16.05, 5e2, 5e5], dtype=np.float32)
    with mpmath.workdps(30):
        gammas = [(mpmath.loggamma(mpmath.mpf(float(one)) + shift), mpmath.loggamma(float(one))) for one in x]
        powers = [shift * mpmath.log(float(one)) for one in x]
        expected = [float(high - low - power) for (high, low), power in zip(gammas, powers, strict=True)]
    direct = [float(abs(high) + abs(power)) for (high, _), power in zip(gammas, powers, strict=True)]
    terms = np.where(x < 16, direct, 2 * shift)  # what the formula adds up on either branch
    # Ten operations, each with up to 4 roundings.
    assert np.all(abs(log_gamma_ratio(jnp.asarray(x), shift) - np.array(expected)) <= 40 * 2.0**-24 * (1 + terms))


def test_kl_of_low_rank_normal_equals_the_dense_one():
    rng = np.random.default_rng(0)
    factor, diagonal, loc = rng.standard_normal((D, 2)), np.exp(rng.standard_normal(D)), rng.standard_normal(D)
    with jax.enable_x64(True):
        low_rank = dist.LowRankMultivariateNormal(loc, factor, diagonal)
        dense = dist.MultivariateNormal(loc, factor @ factor.T + np.diag(diagonal))
        for prior, covariance in ((UnitNormal(D), np.eye(D)), (dist.Normal(LOC, SCALE).to_event(1), np.diag(SCALE**2))):
            mean = np.zeros(D) if isinstance(prior, UnitNormal) else LOC
            expected = dist.kl_divergence(dense, dist.MultivariateNormal(mean, covariance))
            np.testing.assert_allclose(closed_form_kl(low_rank, prior), expected, rtol=1e-12)


def test_kl_to_what_has_no_closed_form_is_none():
    assert closed_form_kl(DiagonalStudentT(3.0, LOC, SCALE), UnitNormal(D)) is None
