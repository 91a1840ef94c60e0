"""The best diagonal Gaussians: of each target by itself, and of all targets of a source together."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import random
from jaxtyping import Array, Float

from vje_ppl.diagnose.posterior.lanes import Lanes, PosteriorMap
from vje_ppl.diagnose.posterior.ported_program import Observed, PortedProgram
from vje_ppl.diagnose.posterior.problem import log_joint

#: Steps of Adam, its initial learning rate (which falls to zero along a cosine), pairs of antithetic draws per step,
#: and the number of last steps that are averaged.
STEPS, LEARNING_RATE, PAIRS, AVERAGED = 300, 0.1, 6, 120

#: The most that a direction is stretched beyond the diagonal.
_LARGEST_STRETCH = 30.0


def best_gaussian(program: PortedProgram, lanes: Lanes, key: jax.Array) -> PosteriorMap:
    """Find, for each lane, the diagonal Gaussian with the largest ELBO, and the posterior's excess along its mean.

    Maximizes E_q[log p(s) + power · log p(z | s)] + H(q) over mean and log scale by Adam on reparameterized draws. It
    starts at the lane's start with the likelihood's scale, independently of any guide. Along the mean, 1 + stretch is
    the inverse root of the log density's curvature there, and never below 1.

    Args:
        program: prior and likelihood.
        lanes: L posteriors.
        key: of the draws.

    Returns:
        `loc` and `scale` of the Gaussians, and the stretch, for L lanes.
    """

    def negative(moved: tuple[Array, Array], key: jax.Array) -> Array:
        mean, log_scale = _moved(lanes.start, lanes.scale, moved)
        latent = mean + jnp.exp(log_scale) * _antithetic(key, mean.shape)
        joint = log_joint(program, lanes.power, latent, lanes.scale, lanes.observed)
        return -(joint.mean(0) + log_scale.sum(-1)).sum()

    moved = _adam(negative, (jnp.zeros_like(lanes.start), jnp.zeros_like(lanes.start)), key)
    mean, log_scale = _moved(lanes.start, lanes.scale, moved)
    scale = jnp.exp(log_scale)
    along = mean / scale
    along = along / jnp.maximum(jnp.linalg.norm(along, axis=-1, keepdims=True), 1e-12)

    def curvature(loc: Array, scale: Array, along: Array, lane: Lanes) -> Array:
        def of_step(step: Array) -> Array:
            latent = loc + scale * along * step
            return -log_joint(program, lane.power, latent, lane.scale, lane.observed)

        return jax.hessian(of_step)(0.0)

    curved = jax.vmap(curvature)(mean, scale, along, lanes)
    stretch = jnp.clip(jnp.reciprocal(jnp.sqrt(jnp.maximum(curved, 1e-6))) - 1, 0, _LARGEST_STRETCH)
    return PosteriorMap(mean, scale, along, jnp.where(jnp.isfinite(stretch), stretch, 0.0))


def best_shared_gaussian(
    program: PortedProgram,
    power: Array,
    scale: Float[Array, "N D"],
    observed: Observed,
    mean: Float[Array, "N D"],
    key: jax.Array,
) -> tuple[Float[Array, "N D"], Float[Array, "N D"]]:
    """Find, for each image, the diagonal Gaussian with the largest mean ELBO over its T unknown targets.

    Args:
        program: prior and likelihood.
        power: the exponent of the likelihood, shape ().
        scale: the likelihood's.
        observed: values of the sites, each (T, N, ...).
        mean: where the search starts; its scale starts at the likelihood's.
        key: of the draws.

    Returns:
        Means and scales, each (N, D).
    """

    def negative(moved: tuple[Array, Array], key: jax.Array) -> Array:
        loc, log_scale = _moved(mean, scale, moved)
        latent = loc + jnp.exp(log_scale) * _antithetic(key, loc.shape)
        joint = log_joint(program, power, latent[:, None], scale, observed)
        return -(joint.mean((0, 1)) + log_scale.sum(-1)).sum()

    moved = _adam(negative, (jnp.zeros_like(mean), jnp.zeros_like(mean)), key)
    loc, log_scale = _moved(mean, scale, moved)
    return loc, jnp.exp(log_scale)


@lru_cache(maxsize=4)
def compiled(program: PortedProgram) -> tuple[Callable, Callable]:
    """Return both searches, compiled at their first call."""
    return jax.jit(partial(best_gaussian, program)), jax.jit(partial(best_shared_gaussian, program))


def _moved(start: Array, unit: Array, moved: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return the mean and log scale, of steps in units of `unit`."""
    return start + unit * moved[0], jnp.log(unit) + moved[1]


def _antithetic(key: jax.Array, shape: tuple[int, ...]) -> Array:
    noise = random.normal(key, (PAIRS, *shape))
    return jnp.concatenate([noise, -noise])


def _adam(negative: Callable[[Any, jax.Array], Array], start: Any, key: jax.Array) -> Any:
    """Minimize a sum over lanes; Adam scales each parameter by itself, so lanes do not influence each other."""

    def step(count: Array, state: Any) -> Any:
        value, first, second, total = state
        rate = LEARNING_RATE * 0.5 * (1 + jnp.cos(jnp.pi * count / STEPS))
        gradient = jax.grad(negative)(value, random.fold_in(key, count))
        gradient = jax.tree.map(lambda one: jnp.where(jnp.isfinite(one), one, 0.0), gradient)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g * g, second, gradient)

        def moved(value: Array, m: Array, v: Array) -> Array:
            return value - rate * (m / (1 - 0.9 ** (count + 1.0))) / (jnp.sqrt(v / (1 - 0.99 ** (count + 1.0))) + 1e-8)

        value = jax.tree.map(moved, value, first, second)
        total = jax.tree.map(lambda sum_, one: sum_ + jnp.where(count >= STEPS - AVERAGED, one, 0.0), total, value)
        return value, first, second, total

    zeros = jax.tree.map(jnp.zeros_like, start)
    total = jax.lax.fori_loop(0, STEPS, step, (start, zeros, zeros, zeros))[3]
    return jax.tree.map(lambda one: one / AVERAGED, total)
