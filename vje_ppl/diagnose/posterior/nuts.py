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
from jax import random
from jaxtyping import Bool, Float, Int
from numpyro.diagnostics import effective_sample_size
from numpyro.infer.hmc import hmc
from scipy.special import ndtri
from scipy.stats import rankdata

from vje_ppl.diagnose.posterior.lanes import Lanes, PosteriorMap
from vje_ppl.diagnose.posterior.ported_program import PortedProgram
from vje_ppl.diagnose.posterior.problem import log_joint

#: A posterior whose chains pass all three counts as sampled: R-hat at most, ESS at least (bulk, all chains), and no
#: divergent transition.
LARGEST_RHAT, SMALLEST_ESS = 1.01, 400

#: Kept draws between two reports of progress.
_CHUNK = 50


@dataclass(frozen=True)
class NUTSOptions:
    """Settings of chains.

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
        """Return the fields, with lanes split into (N, chains)."""
        return {name: one.reshape(-1, chains, *one.shape[1:]) for name, one in vars(self).items()}


@dataclass(frozen=True, eq=False)
class Convergence:
    """Convergence statistics of N posteriors.

    Attributes:
        rhat: rank-normalized split R-hat, shape (N, D).
        ess: bulk effective sample size of all chains together, shape (N, D).
        divergences: number of divergent transitions, shape (N,).
    """

    rhat: Float[np.ndarray, "N D"]
    ess: Float[np.ndarray, "N D"]
    divergences: Int[np.ndarray, " N"]

    @property
    def converged(self) -> Bool[np.ndarray, " N"]:
        """Which posteriors count as sampled."""
        mixed = (self.rhat.max(-1) <= LARGEST_RHAT) & (self.ess.min(-1) >= SMALLEST_ESS)
        return mixed & (self.divergences == 0)


def convergence(latent: Float[np.ndarray, "N C S D"], diverging: Bool[np.ndarray, "N C S"]) -> Convergence:
    """R-hat and ESS of every feature of every posterior, and divergences.

    The same numbers as ArviZ's `rhat` and, up to where its sum of autocorrelations ends, `ess`, for all features of an
    image at once instead of one by one.

    Args:
        latent: draws of N posteriors in C chains.
        diverging: which transitions diverged.

    Source: Vehtari, Gelman, Simpson, Carpenter and Bürkner, Rank-Normalization, Folding, and Localization (2021).
    """
    found = [_rhat_and_ess(one.astype(np.float64)) for one in latent]
    rhat, ess = (np.stack(values) for values in zip(*found, strict=True))
    bad = ~(np.isfinite(rhat) & np.isfinite(ess))  # a chain that never moved
    return Convergence(np.where(bad, np.inf, rhat), np.where(bad, 0.0, ess), diverging.sum((1, 2)))


def _rhat_and_ess(latent: Float[np.ndarray, "C S D"]) -> tuple[np.ndarray, np.ndarray]:
    """Return R-hat and effective sample size of a posterior, features side by side."""
    half = latent.shape[1] // 2
    split = np.concatenate([latent[:, :half], latent[:, -half:]])
    bulk = _normal_scores(split)
    folded = _normal_scores(np.abs(split - np.median(split, axis=(0, 1))))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.maximum(_rhat(bulk), _rhat(folded)), np.asarray(effective_sample_size(bulk))


def _normal_scores(values: Float[np.ndarray, "C S D"]) -> Float[np.ndarray, "C S D"]:
    """Return the ranks among all draws, as quantiles of Normal(0, 1)."""
    flat = values.reshape(-1, values.shape[-1])
    return ndtri((rankdata(flat, axis=0) - 0.375) / (len(flat) + 0.25)).reshape(values.shape)


def _rhat(values: Float[np.ndarray, "C S D"]) -> Float[np.ndarray, " D"]:
    """Return the root of the ratio of pooled to within-chain variance."""
    draws = values.shape[1]
    between, within = values.mean(1).var(0, ddof=1), values.var(1, ddof=1).mean(0)
    return np.sqrt(between / within + (draws - 1) / draws)


@lru_cache(maxsize=4)
def sampler_of(program: PortedProgram, options: NUTSOptions) -> NUTS:
    """Return the sampler of a program, compiled once however many problems share it."""
    return NUTS(program, options)


class NUTS:
    """The No-U-Turn sampler for lanes of one program.

    A lane's posterior is sampled in the whitened coordinates of its best diagonal Gaussian, so the mass matrix is the
    identity and warm-up has the step size alone to find. Chains start at draws of Normal(0, I) there. Each lane has
    random numbers of its own.

    Args:
        program: prior and likelihood.
        options: settings of chains; `chains` is used by the code that makes the lanes.
    """

    def __init__(self, program: PortedProgram, options: NUTSOptions) -> None:
        self.options = options

        def potential_of(lane: Lanes, whitening: PosteriorMap) -> Callable[[jax.Array], jax.Array]:
            def potential(noise: jax.Array) -> jax.Array:
                return -log_joint(program, lane.power, whitening(noise), lane.scale, lane.observed)

            return potential

        start, transition = hmc(potential_fn_gen=potential_of, algo="NUTS")

        def started(key: jax.Array, lane: Lanes, whitening: PosteriorMap) -> Any:
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

        def moved(state: Any, lane: Lanes, whitening: PosteriorMap) -> Any:
            return transition(state, (lane, whitening))

        @partial(jax.jit, static_argnums=3)
        def advance(state: Any, lanes: Lanes, whitening: PosteriorMap, count: int) -> tuple[Any, dict[str, Any]]:
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
        self, lanes: Lanes, whitening: PosteriorMap, seed: int, report: Callable[[int], None] | None = None
    ) -> Chains:
        """Sample every lane.

        Args:
            lanes: L posteriors; several chains of one are several lanes.
            whitening: of each lane.
            seed: of the random numbers.
            report: called with the number of transitions of each finished part.
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
