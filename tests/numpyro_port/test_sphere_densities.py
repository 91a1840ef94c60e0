"""The densities on the sphere in NumPyro: against torch, under jit, vmap and grad, at the edges, and their draws."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax import random
from numpyro.distributions import constraints
from scipy import stats

import vje_ppl.distributions
import vje_ppl.distributions.bessel
import vje_ppl.distributions.sphere
from vje_ppl.numpyro_port.distributions import PowerSpherical, VonMisesFisher
from vje_ppl.numpyro_port.distributions.bessel import log_exponential_integral, mean_cosine_rate
from vje_ppl.numpyro_port.distributions.sphere import from_versine, log_sphere_area, unit_ball, versine

DENSITIES = {"von_mises_fisher": VonMisesFisher, "power_spherical": PowerSpherical}
CONCENTRATIONS = np.logspace(-4, 8, 13)


@pytest.fixture(params=DENSITIES.values(), ids=DENSITIES)
def density(request):
    return request.param


def unit(*shape, seed=0):
    vector = np.random.default_rng(seed).standard_normal(shape)
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)


def gradients_of(density):
    """Compiled gradients of the summed log density by location, concentration and value."""
    return jax.jit(jax.grad(lambda *one: density(*one[:2]).log_prob(one[2]).sum(), (0, 1, 2)))


@pytest.mark.parametrize("dim", [3, 512])
def test_log_prob_and_gradients_equal_those_in_torch(density, dim):
    loc, value = unit(dim), unit(13, dim, seed=1)
    value[0], value[1], value[2] = loc, -loc, unit(dim, seed=2)
    in_torch = getattr(vje_ppl.distributions, density.__name__)
    given = [torch.from_numpy(one.copy()).requires_grad_() for one in (loc, CONCENTRATIONS, value)]
    expected = in_torch(*given[:2]).log_prob(given[2])
    slopes = torch.autograd.grad(expected.sum(), given)
    with jax.enable_x64(True):
        arguments = [jnp.asarray(one) for one in (loc, CONCENTRATIONS, value)]
        found = density(*arguments[:2]).log_prob(arguments[2])
        gradients = gradients_of(density)(*arguments)
    # Both round; terms of the order of κ and D log κ are added up in either.
    atol = 1e-13 * (CONCENTRATIONS + 20 * dim)
    assert (abs(np.asarray(found) - expected.detach().numpy()) <= atol + 1e-13 * abs(expected.detach().numpy())).all()
    for one, other in zip(gradients, slopes, strict=True):
        largest = np.abs(other.numpy()).max(-1, keepdims=True)
        assert (abs(np.asarray(one) - other.numpy()) <= 1e-11 * (1e-300 + largest + abs(other.numpy()))).all()


@pytest.mark.parametrize("dim", [2, 512])
def test_bessel_functions_and_two_derivatives_equal_those_in_torch(dim):
    kappa = torch.from_numpy(CONCENTRATIONS.copy()).requires_grad_()
    value = vje_ppl.distributions.bessel.log_exponential_integral(kappa, dim)
    (first,) = torch.autograd.grad(value.sum(), kappa, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), kappa)
    rate = vje_ppl.distributions.bessel.mean_cosine_rate(kappa, dim)
    with jax.enable_x64(True):
        function = lambda one: log_exponential_integral(one, dim)  # noqa: E731
        chain = [function, jax.grad(function), jax.grad(jax.grad(function))]
        found = [jax.jit(jax.vmap(one))(jnp.asarray(CONCENTRATIONS)) for one in chain]
        found.append(mean_cosine_rate(jnp.asarray(CONCENTRATIONS), dim))
    for one, other in zip(found, (value, first, second, rate), strict=True):
        np.testing.assert_allclose(one, other.detach().numpy(), rtol=1e-12, atol=1e-13 * dim * (other is value))


@pytest.mark.parametrize("dim", [2, 64])
def test_values_and_gradients_in_float32_are_finite_everywhere(density, dim):
    loc = jnp.asarray(unit(dim), jnp.float32)
    value = jnp.stack([loc, -loc, jnp.asarray(unit(dim, seed=1), jnp.float32)])
    kappa = jnp.asarray(CONCENTRATIONS, jnp.float32)[:, None]
    for where in (loc, jnp.zeros(dim)):
        assert jnp.isfinite(density(where, kappa).log_prob(value)).all()
        gradients = gradients_of(density)(where, kappa, value)
        assert all(jnp.isfinite(one).all() for one in gradients)


def test_jit_vmap_and_pytree_agree_with_plain_calls(density):
    with jax.enable_x64(True):
        loc, kappa, value = jnp.asarray(unit(3, 64)), jnp.array([0.5, 2.0, 50.0]), jnp.asarray(unit(3, 64, seed=1))
        distribution = density(loc, kappa)
        plain = distribution.log_prob(value)
        assert plain.shape == distribution.batch_shape == (3,)
        np.testing.assert_allclose(jax.jit(lambda d, x: d.log_prob(x))(distribution, value), plain, rtol=1e-13)
        one_by_one = jax.vmap(lambda *one: density(*one[:2]).log_prob(one[2]))(loc, kappa, value)
        np.testing.assert_allclose(one_by_one, plain, rtol=1e-13)
        leaves, structure = jax.tree.flatten(distribution)
        rebuilt = jax.tree.unflatten(structure, leaves)
        assert type(rebuilt) is density
        np.testing.assert_array_equal(rebuilt.log_prob(value), plain)


def test_shapes_expand_and_broadcast(density):
    distribution = density(unit(5, 1, 64), np.array([0.5, 9.0]))
    assert (distribution.batch_shape, distribution.event_shape) == ((5, 2), (64,))
    assert density.infer_shapes((5, 1, 64), (2,)) == ((5, 2), (64,))
    assert distribution.mean.shape == distribution.variance.shape == (5, 2, 64)
    draw = jax.eval_shape(lambda key: distribution.expand((7, 5, 2)).sample(key, (4,)), random.key(0))
    assert draw.shape == (4, 7, 5, 2, 64)
    value = jnp.asarray(unit(*draw.shape), jnp.float32)
    assert distribution.log_prob(value).shape == (4, 7, 5, 2)


def share_below(density, concentration, cosine):
    """In three dimensions: the probability of a cosine at most this one."""
    if density is PowerSpherical:
        return stats.beta(1 + concentration, 1).cdf((1 + cosine) / 2)
    below, least = np.exp(concentration * (cosine - 1)), np.exp(-2 * concentration)
    return (below - least) / (1 - least)


def test_draws_follow_the_density(density):
    count, loc, concentration = 2_000, unit(3), np.array([0.1, 3.0, 500.0, 3.0])
    locs = np.stack([loc, loc, loc, np.zeros(3)])  # around the last one, draws are uniform
    with jax.enable_x64(True):
        distribution = density(locs, concentration)
        draws = np.asarray(jax.jit(lambda key: distribution.sample(key, (count,)))(random.key(1)))
        assert constraints.sphere(draws).all()
        mean, variance = np.asarray(distribution.mean), np.asarray(distribution.variance)
        across = density(np.eye(3)[0], 3.0).log_prob(np.eye(3)[1])
        np.testing.assert_allclose(distribution.log_prob(np.eye(3)[:, None])[:, 3], across, rtol=1e-13)
    for number in range(3):
        # Deterministic, since the key is fixed; a right sampler fails one key in 10⁴.
        below = lambda cosine, kappa=concentration[number]: share_below(density, kappa, cosine)  # noqa: E731
        assert stats.kstest(draws[:, number] @ loc, below).pvalue > 1e-4
        assert stats.kstest(draws[:, 3, number], stats.uniform(-1, 2).cdf).pvalue > 1e-4  # Archimedes
    assert (abs(draws.mean(0) - mean) <= 5 * np.sqrt(variance / count)).all()
    squares = np.square(draws - mean)[:, :3]
    assert (abs(squares.mean(0) - variance[:3]) <= 5 * squares.std(0) / np.sqrt(count)).all()
    in_torch = getattr(vje_ppl.distributions, density.__name__)(torch.from_numpy(locs), torch.from_numpy(concentration))
    np.testing.assert_allclose(mean, in_torch.mean, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(variance, in_torch.variance, rtol=1e-12)


def test_power_spherical_draws_carry_gradients_and_those_of_von_mises_fisher_none():
    count, loc, concentration = 4_000, unit(3), 4.0

    def slopes(density):
        def cosine(kappa):
            return density(loc, kappa).sample(random.key(2), (count,)) @ loc

        return np.asarray(jax.jit(lambda kappa: jax.jvp(cosine, (kappa,), (1.0,))[1])(concentration))

    with jax.enable_x64(True):
        found = slopes(PowerSpherical)
        assert (slopes(VonMisesFisher) == 0).all()
    expected = 2 / (concentration + 2) ** 2  # of κ/(κ + D − 1)
    assert abs(found.mean() - expected) <= 5 * found.std() / np.sqrt(count)


def test_geometry_equals_that_in_torch():
    in_torch = vje_ppl.distributions.sphere
    loc, value = unit(6, 4), unit(6, 4, seed=1)
    loc[5] = 0
    expected = in_torch.versine(torch.from_numpy(loc), torch.from_numpy(value)).numpy()
    with jax.enable_x64(True):
        np.testing.assert_allclose(versine(jnp.asarray(loc), jnp.asarray(value)), expected, rtol=1e-14)
        wanted = jnp.array([0.0, 1e-12, 0.3, 1.0, 2.0])
        drawn = from_versine(random.key(0), jnp.asarray(loc[:5]), wanted)
        np.testing.assert_allclose(versine(jnp.asarray(loc[:5]), drawn), wanted, rtol=1e-3, atol=1e-15)
        assert unit_ball(loc).all()
        assert not unit_ball(1.1 * loc[0])
        assert unit_ball.feasible_like(loc).shape == loc.shape
    assert log_sphere_area(7) == in_torch.log_sphere_area(7)


def test_mistakes_are_refused(density):
    with pytest.raises(ValueError, match="concentration"):
        density(unit(3), -1.0, validate_args=True)
    with pytest.raises(ValueError, match="loc"):
        density(2 * unit(3), 1.0, validate_args=True)
    with pytest.raises(ValueError, match="expects loc with a last dimension of two or more features"):
        density(np.ones((4, 1)), 1.0)
