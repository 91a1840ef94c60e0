"""The gap between a guide and the posterior it stands for: information, amortization, family."""

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
from jax.scipy.special import gammaln, logsumexp
from jaxtyping import Array, Float

from vje_ppl.diagnose.posterior.lanes import PosteriorMap
from vje_ppl.diagnose.posterior.ported_program import Observed, PortedProgram
from vje_ppl.diagnose.posterior.problem import PosteriorProblem, Power, log_joint

#: The widest of the three proposals behind the log evidence: a Student-t of so many degrees of freedom, so much wider.
_TAIL_DF, _TAIL_SCALE = 10.0, 1.1

#: Numbers in the largest array that is made at a time.
_LARGEST = 2**21


@dataclass(frozen=True, eq=False)
class Gap:
    """Where the log evidence goes, image by image, in nats; means over the T targets of one source.

    With the source a and all that the likelihood is given of it fixed, and targets b of the same image:

        information    mean_b max_q ELBO_b(q) − max_q mean_b ELBO_b(q)    what knowing the target adds
        amortization   max_q mean_b ELBO_b(q) − mean_b ELBO_b(guide)      what a better guide could gain
        family         mean_b log Z_b − mean_b max_q ELBO_b(q)            what no diagonal Gaussian can

    over diagonal Gaussians q. Their sum is mean_b log Z_b − mean_b ELBO_b(guide), exactly, which is the mean of
    KL(guide ‖ posterior_b). Two caveats: the shared Gaussian is fitted to T targets where the guide answers for all
    there could be, which moves about 1/T of the information to amortization; and the log evidence is an importance
    sampling estimate, which is low on average, and so is `family`.

    Attributes:
        log_evidence: log Z, shape (N,).
        log_evidence_error: its standard error, shape (N,).
        best_elbo: of the best diagonal Gaussian of each target, shape (N,).
        shared_elbo: of the best diagonal Gaussian for all targets, shape (N,).
        guide_elbo: of the guide, shape (N,).
        guide_elbo_error: its standard error, shape (N,).
    """

    log_evidence: Float[np.ndarray, " N"]
    log_evidence_error: Float[np.ndarray, " N"]
    best_elbo: Float[np.ndarray, " N"]
    shared_elbo: Float[np.ndarray, " N"]
    guide_elbo: Float[np.ndarray, " N"]
    guide_elbo_error: Float[np.ndarray, " N"]

    @property
    def information(self) -> Float[np.ndarray, " N"]:
        """The information that the target adds."""
        return self.best_elbo - self.shared_elbo

    @property
    def amortization(self) -> Float[np.ndarray, " N"]:
        """The gain of a better guide of the source alone."""
        return self.shared_elbo - self.guide_elbo

    @property
    def family(self) -> Float[np.ndarray, " N"]:
        """The part that no diagonal Gaussian can gain."""
        return self.log_evidence - self.best_elbo

    @property
    def total(self) -> Float[np.ndarray, " N"]:
        """Mean KL from the guide to the posteriors of the targets."""
        return self.log_evidence - self.guide_elbo

    @property
    def amortization_share(self) -> float:
        """Amortization over the mean gap; NaN where that is no larger than two of its standard errors."""
        error = np.sqrt((np.square(self.log_evidence_error) + np.square(self.guide_elbo_error)).sum()) / len(self.total)
        total = self.total.mean()
        return float(self.amortization.mean() / total) if total > 2 * error else math.nan


@dataclass(frozen=True, eq=False)
class Measured:
    """Log densities at draws of the Gaussians, S draws each.

    Attributes:
        best: log joint density at draws of each target's Gaussian, shape (S, T, N).
        best_log_prob: that Gaussian's own log density there, shape (S, T, N).
        shared: at draws of the shared Gaussian, shape (S, T, N).
        guide: at draws of the diagonal Gaussian with the guide's moments, shape (S, T, N).
        evidence: log importance weights of the mixture of proposals, shape (3 S, T, N).
    """

    best: Float[np.ndarray, "S T N"]
    best_log_prob: Float[np.ndarray, "S T N"]
    shared: Float[np.ndarray, "S T N"]
    guide: Float[np.ndarray, "S T N"]
    evidence: Float[np.ndarray, "S3 T N"]


@lru_cache(maxsize=4)
def compiled_measure(program: PortedProgram) -> Callable:
    """`_measure` of a program, compiled once for each number of draws."""
    return jax.jit(partial(_measure, program), static_argnames="draws")


def measure(
    function: Callable,
    problem: PosteriorProblem,
    power: Power,
    best: PosteriorMap,
    shared: tuple[np.ndarray, np.ndarray],
    draws: int,
) -> Measured:
    """Draw from every Gaussian with the same noise, and evaluate.

    Args:
        function: of `compiled_measure`.
        problem: the diagnosed problem.
        power: the target density.
        best: each target's Gaussian, fields (T, N, ...).
        shared: means and scales of the shared ones, each (N, D).
        draws: S.
    """
    blocks = math.ceil(draws / max(1, _LARGEST // problem.start.size))
    at_once = math.ceil(draws / blocks)
    given = jax.tree.map(
        jnp.asarray,
        (
            jnp.float32(power.power),
            problem.scale,
            problem.observed,
            best,
            shared,
            (problem.guide_mean, problem.guide_scale),
        ),
    )
    parts = []
    for number in range(blocks):
        key = random.fold_in(random.key(problem.seed % 2**32), number)
        parts.append(jax.tree.map(np.asarray, function(key, *given, draws=at_once)))
    joined = {name: np.concatenate([one[name] for one in parts]).astype(np.float64) for name in parts[0]}
    evidence = joined.pop("evidence")
    return Measured(**{name: one[:draws] for name, one in joined.items()}, evidence=evidence)


@np.errstate(invalid="ignore", over="ignore", divide="ignore")
def split(
    problem: PosteriorProblem,
    measured: Measured,
    best_scale: Float[np.ndarray, "T N D"],
    shared_scale: Float[np.ndarray, "N D"],
    guide_weights: Float[np.ndarray, "S T N"] | None,
) -> Gap:
    """Compute the gap and its parts.

    Infinite densities give NaN.

    If a search ended below a bound, the bound is used: a target's Gaussian is at least as good as the shared Gaussian,
    which is at least as good as a guide that is a diagonal Gaussian.

    Args:
        problem: the diagnosed problem.
        measured: log densities at draws.
        best_scale: of each target's Gaussian.
        shared_scale: of the shared Gaussian.
        guide_weights: log importance weights of the guide, if it is not a diagonal Gaussian; otherwise None.
    """
    best = measured.best.mean(0) + _entropy(best_scale)
    shared = measured.shared.mean(0) + _entropy(shared_scale)
    diagonal = measured.guide.mean(0) + _entropy(problem.guide_scale)
    at_draws = (measured.guide if guide_weights is None else guide_weights).mean(1)
    keep = shared.mean(0) >= diagonal.mean(0)
    shared = np.where(keep, shared, diagonal)
    best = np.maximum(best, shared)
    log_evidence, error = _log_mean_exp(measured.evidence)
    targets = len(best)
    found = (
        log_evidence.mean(0),
        np.sqrt(np.square(error).sum(0)) / targets,
        best.mean(0),
        shared.mean(0),
        (diagonal if guide_weights is None else guide_weights.mean(0)).mean(0),
        at_draws.std(0) * math.sqrt(2 / len(at_draws)),  # of an antithetic pair, at worst one draw counts
    )
    return Gap(*(np.where(np.isfinite(one), one, np.nan) for one in found))


def _entropy(scale: np.ndarray) -> np.ndarray:
    """Return the entropy of diagonal Gaussians, in nats."""
    return np.log(np.float64(scale)).sum(-1) + 0.5 * scale.shape[-1] * math.log(2 * math.pi * math.e)


def _log_mean_exp(log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log of the mean of weights, and its standard error by the delta method."""
    largest = log_weights.max(0)
    weights = np.exp(log_weights - largest)
    mean = weights.mean(0)
    return largest + np.log(mean), weights.std(0) / mean / math.sqrt(len(log_weights))


def _measure(
    program: PortedProgram,
    key: jax.Array,
    power: Array,
    scale: Array,
    observed: Observed,
    best: PosteriorMap,
    shared: tuple[Array, Array],
    guide: tuple[Array, Array],
    *,
    draws: int,
) -> dict[str, Any]:
    joint = partial(log_joint, program, power, scale=scale, observed=observed)
    targets, images, dim = best.loc.shape
    noise_key, tail_key = random.split(key)
    noise = random.normal(noise_key, (math.ceil(draws / 2), 1, images, dim))
    noise = jnp.concatenate([noise, -noise])[:draws]
    diagonal = best.unstretched()
    mixing = random.chisquare(tail_key, _TAIL_DF, (draws, 1, images, 1)) / _TAIL_DF
    latents = [diagonal(noise), best(noise), best(_TAIL_SCALE * noise / jnp.sqrt(mixing))]
    joints = [joint(latent=latent) for latent in latents]
    weights = [density - _log_mixture(best, diagonal, latent) for density, latent in zip(joints, latents, strict=True)]
    return {
        "best": joints[0],
        "best_log_prob": _log_normal(noise) - diagonal.log_det(),
        "shared": joint(latent=shared[0] + shared[1] * noise) * jnp.ones((targets, 1)),
        "guide": joint(latent=guide[0] + guide[1] * noise) * jnp.ones((targets, 1)),
        "evidence": jnp.concatenate(weights),
    }


def _log_normal(noise: Array) -> Array:
    """Log density of Normal(0, I)."""
    return -0.5 * (jnp.square(noise).sum(-1) + noise.shape[-1] * math.log(2 * math.pi))


def _log_mixture(best: PosteriorMap, diagonal: PosteriorMap, latent: Array) -> Array:
    """Log density of the three proposals in equal parts."""
    dim, noise = latent.shape[-1], best.inverse(latent)
    squared = jnp.square(noise).sum(-1)
    plain = _log_normal(diagonal.inverse(latent)) - diagonal.log_det()
    stretched = _log_normal(noise) - best.log_det()
    student = (
        gammaln(0.5 * (_TAIL_DF + dim))
        - gammaln(0.5 * _TAIL_DF)
        - 0.5 * dim * math.log(_TAIL_DF * math.pi)
        - dim * math.log(_TAIL_SCALE)
        - 0.5 * (_TAIL_DF + dim) * jnp.log1p(squared / (_TAIL_DF * _TAIL_SCALE**2))
    )
    return logsumexp(jnp.stack([plain, stretched, student - best.log_det()]), axis=0) - math.log(3)
