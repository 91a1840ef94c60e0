"""NUTS in NumPyro on many posteriors at once: images and chains are lanes of one compiled function."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from arviz_stats.base import array_stats
from jax import random
from jaxtyping import Bool, Float, Int
from numpyro.infer.hmc import hmc

from vje_ppl.diagnostics.lanes import Lanes, Whitening
from vje_ppl.diagnostics.ported_program import PortedProgram
from vje_ppl.diagnostics.problem import log_joint

#: A posterior whose chains pass all three counts as sampled: R-hat at most, ESS at least (bulk, all chains), and no
#: divergent transition.
LARGEST_RHAT, SMALLEST_ESS = 1.01, 400

#: Kept draws between two reports of progress.
_CHUNK = 50


@dataclass(frozen=True)
class NUTSOptions:
    """How chains run.

    Attributes:
        chains: of each posterior, started apart from each other.
        warmup: transitions in which the step size adapts, dropped.
        draws: kept of each chain.
        thin: transitions from one kept draw to the next.
        max_tree_depth: at most 2^depth − 1 leapfrog steps a transition. All lanes wait for the slowest one, and the
            posteriors come whitened, so a low limit costs little and saves much.
        target_accept: mean acceptance probability to adapt the step size to.
    """

    chains: int = 4
    warmup: int = 200
    draws: int = 500
    thin: int = 4
    max_tree_depth: int = 4
    target_accept: float = 0.8


@dataclass(frozen=True, eq=False)
class Chains:
    """Draws of L lanes.

    Attributes:
        latent: shape (L, S, D).
        diverging: whether a transition diverged since the draw before, shape (L, S).
        acceptance: acceptance probability, shape (L, S).
        steps: leapfrog steps, shape (L, S).
        energy: potential energy, minus the log joint density in whitened coordinates, shape (L, S).
        step_size: after adaptation, shape (L,).
    """

    latent: Float[np.ndarray, "L S D"]
    diverging: Bool[np.ndarray, "L S"]
    acceptance: Float[np.ndarray, "L S"]
    steps: Int[np.ndarray, "L S"]
    energy: Float[np.ndarray, "L S"]
    step_size: Float[np.ndarray, " L"]

    def by_posterior(self, chains: int) -> dict[str, np.ndarray]:
        """The fields, with lanes split into (N, chains)."""
        return {name: one.reshape(-1, chains, *one.shape[1:]) for name, one in vars(self).items()}


@dataclass(frozen=True, eq=False)
class Convergence:
    """How well N posteriors are sampled.

    Attributes:
        rhat: rank-normalized split R-hat, shape (N, D).
        ess: bulk effective sample size of all chains together, shape (N, D).
        divergences: number of divergent transitions, shape (N,).
        needed_ess: what `ess` has to reach.
    """

    rhat: Float[np.ndarray, "N D"]
    ess: Float[np.ndarray, "N D"]
    divergences: Int[np.ndarray, " N"]
    needed_ess: float = SMALLEST_ESS

    @property
    def converged(self) -> Bool[np.ndarray, " N"]:
        """Which posteriors count as sampled."""
        mixed = (self.rhat.max(-1) <= LARGEST_RHAT) & (self.ess.min(-1) >= self.needed_ess)
        return mixed & (self.divergences == 0)


def convergence(latent: Float[np.ndarray, "N C S D"], diverging: Bool[np.ndarray, "N C S"]) -> Convergence:
    """R-hat and ESS of every feature of every posterior, by ArviZ, and divergences.

    Args:
        latent: draws of N posteriors in C chains.
        diverging: which transitions diverged.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        rhat = np.asarray(array_stats.rhat(latent, chain_axis=1, draw_axis=2))
        ess = np.asarray(array_stats.ess(latent, chain_axis=1, draw_axis=2))
    bad = ~(np.isfinite(rhat) & np.isfinite(ess))  # a chain that never moved
    return Convergence(np.where(bad, np.inf, rhat), np.where(bad, 0.0, ess), diverging.sum((1, 2)))


@lru_cache(maxsize=4)
def sampler_of(program: PortedProgram, options: NUTSOptions) -> NUTS:
    """The sampler of a program, compiled once however many problems share it."""
    return NUTS(program, options)


class NUTS:
    """The No-U-Turn sampler for lanes of one program.

    A lane's posterior is sampled in the whitened coordinates of its best diagonal Gaussian, so the mass matrix is the
    identity and warm-up has the step size alone to find. Chains start at draws of Normal(0, I) there. Each lane has
    random numbers of its own.

    Args:
        program: prior and likelihood.
        options: how chains run; `chains` is for those who make the lanes.
    """

    def __init__(self, program: PortedProgram, options: NUTSOptions) -> None:
        self.options = options

        def potential_of(lane: Lanes, whitening: Whitening) -> Callable[[jax.Array], jax.Array]:
            def potential(noise: jax.Array) -> jax.Array:
                return -log_joint(program, lane.power, whitening(noise), lane.scale, lane.observed)

            return potential

        start, transition = hmc(potential_fn_gen=potential_of, algo="NUTS")

        def started(key: jax.Array, lane: Lanes, whitening: Whitening) -> Any:
            first, rest = random.split(key)
            return start(
                random.normal(first, lane.scale.shape),
                options.thin * math.ceil(options.warmup / options.thin),
                step_size=0.5 * lane.scale.shape[-1] ** -0.25,
                adapt_mass_matrix=False,
                target_accept_prob=options.target_accept,
                max_tree_depth=options.max_tree_depth,
                model_args=(lane, whitening),
                rng_key=rest,
            )

        def moved(state: Any, lane: Lanes, whitening: Whitening) -> Any:
            return transition(state, (lane, whitening))

        @partial(jax.jit, static_argnums=3)
        def advance(state: Any, lanes: Lanes, whitening: Whitening, count: int) -> tuple[Any, dict[str, Any]]:
            def transitions(_: Any, carried: tuple[Any, Any]) -> tuple[Any, Any]:
                state, diverging = carried
                state = jax.vmap(moved)(state, lanes, whitening)
                return state, diverging | state.diverging

            def one(state: Any, _: None) -> tuple[Any, dict[str, Any]]:
                state, diverging = jax.lax.fori_loop(
                    0, options.thin, transitions, (state, jnp.zeros_like(state.diverging))
                )
                kept = {
                    "latent": whitening(state.z),
                    "diverging": diverging,
                    "acceptance": state.accept_prob,
                    "steps": state.num_steps,
                    "energy": state.potential_energy,
                }
                return state, kept

            return jax.lax.scan(one, state, None, length=count)

        self._start, self._advance = jax.jit(jax.vmap(started)), advance

    def __call__(
        self, lanes: Lanes, whitening: Whitening, seed: int, report: Callable[[int], None] | None = None
    ) -> Chains:
        """Sample every lane.

        Args:
            lanes: L posteriors; several chains of one are several lanes.
            whitening: of each lane.
            seed: of the random numbers.
            report: told the number of transitions of each part that is done.
        """
        options = self.options
        keys = random.split(random.key(seed % 2**32), len(lanes))
        lanes, whitening = jax.tree.map(jnp.asarray, (lanes, whitening))
        state = self._start(keys, lanes, whitening)
        parts: list[dict[str, np.ndarray]] = []
        for phase, total in (("warmup", math.ceil(options.warmup / options.thin)), ("draws", options.draws)):
            for first in range(0, total, _CHUNK):
                count = min(_CHUNK, total - first)
                state, kept = self._advance(state, lanes, whitening, count)
                if phase == "draws":
                    parts.append({name: np.asarray(one) for name, one in kept.items()})
                else:
                    jax.block_until_ready(kept)
                if report is not None:
                    report(count * options.thin)
        fields = {name: np.moveaxis(np.concatenate([one[name] for one in parts]), 0, 1) for name in parts[0]}
        return Chains(**fields, step_size=np.asarray(state.adapt_state.step_size))
