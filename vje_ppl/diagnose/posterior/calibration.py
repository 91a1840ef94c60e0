"""Simulation-based calibration: do posteriors of simulated data rank the truth uniformly?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from arviz_stats.base import array_stats
from jax import random
from jaxtyping import Float, Real

from vje_ppl.diagnose.posterior.lanes import Lanes
from vje_ppl.diagnose.posterior.ported_program import Observed
from vje_ppl.diagnose.posterior.problem import PosteriorProblem
from vje_ppl.diagnose.posterior.reference import Reference
from vje_ppl.diagnose.statistics.pit import rank_with_ties
from vje_ppl.errors import UserError
from vje_ppl.parallel.randomness import Stream, stream_seed

#: Most features whose ranks are checked, beside the latent's norm and the log-likelihood.
FEATURES = 6

#: Draws for each simulation, at most, where only some of them follow the density.
MOST_DRAWN = 100

#: Number of draws to rank among.
RANKED = 99


@dataclass(frozen=True, eq=False)
class Ranks:
    """Ranks of M simulated truths among draws of their posteriors.

    Attributes:
        of: the source of the draws, in words.
        ranks: by quantity, each (M,), from 0 to `among`; NaN where truth or draws are.
        among: number of draws.
    """

    of: str
    ranks: dict[str, Real[np.ndarray, " M"]]
    among: int

    def uniform(self, quantity: str) -> Float[np.ndarray, " M"]:
        """Return the ranks on (0, 1), uniform for a correct posterior; each is spread over its place at random."""
        spread = np.random.default_rng(0).random(len(self.ranks[quantity]))
        return (self.ranks[quantity] + spread) / (self.among + 1)

    @property
    def p_values(self) -> dict[str, float]:
        """Of each quantity's uniformity, by ArviZ's test of independent uniforms."""
        return {name: _p_value(self.uniform(name)) for name in self.ranks}

    @property
    def p_value(self) -> float:
        """Of all quantities together: Bonferroni's, the smallest times their number; NaN where one of them is."""
        found = np.array(list(self.p_values.values()))
        return float(np.minimum(1.0, len(found) * found.min()))

    @property
    def shape(self) -> str:
        """The shape of the features' ranks, in words."""
        if not np.isfinite(self.p_value):
            return "some are not finite, and have no rank"
        features = [self.uniform(name) for name in self.ranks if name.startswith("feature")]
        mean = float(np.mean(features))
        outer = float(np.mean([(one < 0.1) | (one > 0.9) for one in features]))
        if abs(mean - 0.5) > 0.1:
            return f"the truth tends to lie {'above' if mean > 0.5 else 'below'} the draws, so they are shifted"
        if outer > 0.25:
            return f"the truth lies in the outer fifth of the draws in {outer:.0%} of cases, so they are too narrow"
        if outer < 0.16:
            return f"the truth lies in the outer fifth of the draws in {outer:.0%} of cases, so they are too wide"
        return "no simple shift or width explains it"


@dataclass(frozen=True, eq=False)
class Calibration:
    """Ranks among NUTS draws, and among the guide's draws if it sees the observations.

    Attributes:
        ranks: of the sampler first.
        simulations: M.
        off_sphere: mean distance from 1 of the norms of simulated directions; None for a likelihood without them.
        left_out: share of simulated pairs that were left out, because the observation does not follow the density.
        is_reference: whether the reference density was used in place of the subdensity that training maximizes.
    """

    ranks: list[Ranks]
    simulations: int
    off_sphere: float | None
    left_out: float = 0.0
    is_reference: bool = False


def calibrate(reference: Reference) -> Calibration:
    """Simulate, sample, rank.

    For each of M simulations the likelihood's scale is that of one of the real images, s is drawn from the prior and
    what is observed from the likelihood as it is, which for an ambient Student-t is a direction off the sphere. NUTS
    then samples the Bayesian posterior, and s is ranked among its draws: uniformly, if program and sampler agree. A
    guide is ranked only if it sees the observations, which a run's guide does not.

    Draws do not follow a subdensity such as that of `polar_tangent_student_t`, but its reference density. So
    calibration uses the reference. Where the reference integrates to less than one, a pair of s and a draw beyond the
    antipode is left out: the other pairs have the joint density p(s) p(z | s), up to a constant.

    Args:
        reference: the problem and how chains run; one chain per simulation, as many as all images have chains.

    Source: Talts, Betancourt, Simpson, Vehtari and Gelman, Validating Bayesian Inference Algorithms with
    Simulation-Based Calibration (2018).
    """
    program = reference.problem.program.with_reference()
    is_reference = program is not reference.problem.program
    problem = replace(reference.problem, program=program)
    reference = reference.beside(problem)
    truth, observed, image, left_out = _simulate(problem, reference.block)
    lanes = Lanes(
        np.full(len(truth), problem.sampler_power, np.float32),
        problem.sampler_scale[image],
        observed,
        _start(observed, problem.sampler_scale[image]),
    )
    with reference.stage("gaussians", f"{len(truth)} simulations"):
        whitening = reference.whitening(lanes)
    seed = stream_seed(problem.seed, Stream.SIMULATION, 1)
    chains = reference.run_chains((lanes, whitening), seed, f"{len(truth)} simulations, one chain each")
    quantities = _quantities(problem, observed, lanes.scale)
    ties = np.random.default_rng(stream_seed(problem.seed, Stream.TIES))
    ranks = [_rank("NUTS", truth, _thinned(chains.latent), quantities, ties)]
    if problem.guide_of is not None:
        mean, scale = problem.guide_of(observed, problem.scale[image])
        rng = np.random.default_rng(stream_seed(problem.seed, Stream.SIMULATED_GUIDE))
        noise = rng.standard_normal((len(mean), RANKED, problem.dim))
        draws = mean[:, None] + scale[:, None] * noise.astype(np.float32)
        ranks.append(_rank("the guide", truth, draws, quantities, ties))
    directions = observed.get("direction")
    off = None if directions is None else float(np.abs(np.linalg.norm(directions, axis=-1) - 1).mean())
    return Calibration(ranks, len(truth), off, left_out, is_reference)


def _simulate(problem: PosteriorProblem, count: int) -> tuple[np.ndarray, Observed, np.ndarray, float]:
    """Return latents, their observations, the image whose scale was used, and the share of pairs that were left out."""
    parts: list[tuple[Any, ...]] = []
    kept = drawn = 0
    while kept < count:
        if drawn >= MOST_DRAWN * count:
            raise UserError(
                f"calibration needs {count} draws that follow the direction's density, and {kept} of {drawn} do: the "
                "scales are too large for this likelihood; leave calibration out of sections=[...]."
            )
        image = np.arange(count) % problem.images
        key = random.key(stream_seed(problem.seed, Stream.SIMULATION) % 2**32)
        key_latent, key_observed = random.split(key if drawn == 0 else random.fold_in(key, drawn))
        latent = problem.program.prior().sample(key_latent, (count,))
        observed, within = problem.program.draw_within(key_observed, latent, jnp.asarray(problem.scale[image]))
        chosen = np.flatnonzero(np.asarray(within))
        parts.append(jax.tree.map(lambda one: np.asarray(one)[chosen], (latent, observed, image)))  # noqa: B023
        kept, drawn = kept + len(chosen), drawn + count
    latent, observed, image = jax.tree.map(lambda *same: np.concatenate(same)[:count], *parts)
    return latent, observed, image, 1 - kept / drawn


def _start(observed: Observed, scale: np.ndarray) -> np.ndarray:
    """Return where to start searching for a posterior: the observed embedding, rebuilt from its polar form."""
    if "direction" in observed:
        direction = observed["direction"]
        direction = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
        radius = np.clip(observed.get("radius", np.full(len(direction), direction.shape[-1] ** 0.5)), 0.5, 100.0)
        return (direction * radius[:, None]).astype(np.float32)
    vectors = [value for value in observed.values() if value.shape == scale.shape]
    return vectors[0].astype(np.float32) if vectors else np.zeros_like(scale)


Quantities = Callable[[np.ndarray], dict[str, np.ndarray]]


def _quantities(problem: PosteriorProblem, observed: Observed, scale: np.ndarray) -> Quantities:
    """Return the ranked quantities: a few features, the norm, and the log-likelihood, of latents (M, S, D)."""
    features = np.unique(np.linspace(0, problem.dim - 1, min(FEATURES, problem.dim)).astype(int))
    given = jax.tree.map(jnp.asarray, (scale, observed))

    @jax.jit
    def log_likelihood(latent: jax.Array, scale: jax.Array, observed: Observed) -> jax.Array:
        return sum(problem.program.log_likelihood(latent, scale, observed).values())  # type: ignore[return-value]

    def evaluate(latent: np.ndarray) -> dict[str, np.ndarray]:
        found = {f"feature {one}": latent[..., one] for one in features}
        found["norm"] = np.linalg.norm(latent, axis=-1)
        found["log-likelihood"] = np.asarray(log_likelihood(jnp.asarray(np.moveaxis(latent, 1, 0)), *given)).T
        return found

    return evaluate


def _rank(of: str, truth: np.ndarray, draws: np.ndarray, quantities: Quantities, rng: np.random.Generator) -> Ranks:
    values = quantities(np.concatenate([truth[:, None], draws], axis=1))
    ranks = {name: rank_with_ties(one[:, 1:].T, one[:, 0], rng) for name, one in values.items()}
    return Ranks(of, ranks, draws.shape[1])


def _thinned(latent: np.ndarray) -> np.ndarray:
    """`RANKED` draws of each chain, as far apart as they can be."""
    draws = latent.shape[1]
    return latent[:, np.linspace(0, draws - 1, min(RANKED, draws)).astype(int)]


def _p_value(values: np.ndarray) -> float:
    if not np.isfinite(values).all():
        return float("nan")
    return float(array_stats.uniformity_test(values)[0])
