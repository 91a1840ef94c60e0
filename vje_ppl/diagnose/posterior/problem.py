"""The diagnosed problem: targets, the likelihood's scale, and a guide's posteriors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vje_ppl.diagnose.posterior.ported_program import Observed, PortedProgram

#: The most numbers in an array of draws × targets × images × features that is computed at once.
_LARGEST = 2**21

#: A guide that sees the observation: from M observations and scales (M, D) to means and scales, each (M, D).
GuideOf = Callable[[Observed, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Power:
    """A target density, prior · likelihood^power, up to its normalizer.

    Attributes:
        name: its key in results.
        power: 1 for the Bayesian posterior; 1/β for the posterior that a run with KL weight β fits.
        label: a description in words.
    """

    name: str
    power: float
    label: str


BAYESIAN = Power("bayesian", 1.0, "the Bayesian posterior")


def powers(beta: float) -> list[Power]:
    """Return a run's target densities: first the posterior that it fits, then the Bayesian posterior if it differs.

    E_q[log p(z|s)] − β KL(q ‖ p) is β times the ELBO of p(s) p(z|s)^(1/β). A guide that is trained with weight β
    therefore fits the posterior of that tempered program. At β = 0 it fits no posterior.

    Args:
        beta: the run's weight of the KL.
    """
    if beta == 1 or beta == 0:
        return [BAYESIAN]
    return [Power("tempered", 1 / beta, f"the posterior tempered by 1/β = {1 / beta:g}"), BAYESIAN]


@dataclass(frozen=True, eq=False)
class PosteriorProblem:
    """N images, each with T observed targets, and a guide's posterior of each image.

    Attributes:
        program: prior and likelihood.
        scale: the likelihood's scale, always held fixed, shape (N, D).
        observed: values of the observed sites, each (T, N, ...).
        start: where the search for a posterior starts, shape (T, N, D).
        guide_mean: means of the guide's draws, shape (N, D).
        guide_scale: their standard deviations, shape (N, D).
        guide_draws: shape (S, N, D).
        guide_log_prob: the guide's log density at its draws, in nats, shape (S, N).
        guide_is_diagonal: whether the guide is a diagonal Normal with these moments.
        beta: the weight of the KL that the guide was trained with.
        seed: seed of all further draws.
        sampler_scale: the scale with which calibration's sampler evaluates the likelihood; differs from `scale` only
            under a planted fault.
        sampler_power: the power to which that sampler raises the likelihood; differs from 1 only under a planted fault.
        guide_of: the guide, if it sees the observation; None if it sees only the source, as in a run.
    """

    program: PortedProgram
    scale: Float[np.ndarray, "N D"]
    observed: Observed
    start: Float[np.ndarray, "T N D"]
    guide_mean: Float[np.ndarray, "N D"]
    guide_scale: Float[np.ndarray, "N D"]
    guide_draws: Float[np.ndarray, "S N D"]
    guide_log_prob: Float[np.ndarray, "S N"]
    guide_is_diagonal: bool
    beta: float
    seed: int
    sampler_scale: Float[np.ndarray, "N D"]
    sampler_power: float = 1.0
    guide_of: GuideOf | None = None

    @property
    def images(self) -> int:
        """N."""
        return len(self.scale)

    @property
    def dim(self) -> int:
        """D."""
        return self.scale.shape[-1]

    @property
    def targets(self) -> int:
        """T."""
        return len(self.start)

    def terms(self, latent: Float[np.ndarray, "S T2 N D"], targets: int | None = None) -> LatentTerms:
        """Return the log densities of prior and likelihood at latents, for the first `targets` targets.

        Args:
            latent: S draws for each of T2 targets; T2 = 1 if all targets share them.
            targets: number of targets; None: all.

        Returns:
            log p(s), (S, T2, N), and log p of each site, (S, T, N), in nats.
        """
        count = self.targets if targets is None else targets
        observed = {name: jnp.asarray(value[:count]) for name, value in self.observed.items()}
        at_once = max(1, _LARGEST // (count * self.scale.size))
        evaluate = _jitted_terms(self.program)
        parts = [
            evaluate(jnp.asarray(latent[start : start + at_once]), jnp.asarray(self.scale), observed)
            for start in range(0, len(latent), at_once)
        ]
        prior = np.concatenate([np.asarray(part[0], np.float64) for part in parts])
        sites = {
            name: np.concatenate([np.asarray(part[1][name], np.float64) for part in parts]) for name in parts[0][1]
        }
        return LatentTerms(prior, sites)


@dataclass(frozen=True, eq=False)
class LatentTerms:
    """Log densities at latents, in nats.

    Attributes:
        prior: log p(s), shape (S, T or 1, N).
        sites: log p of each observed site, shape (S, T, N).
    """

    prior: Float[np.ndarray, "S T2 N"]
    sites: dict[str, Float[np.ndarray, "S T N"]]

    @property
    def likelihood(self) -> Float[np.ndarray, "S T N"]:
        """The log-likelihood: the sum over the sites."""
        return np.sum(list(self.sites.values()), axis=0)

    def joint(self, power: Power) -> Float[np.ndarray, "S T N"]:
        """Return log p(s) + power · log p(z | s)."""
        return self.prior + power.power * self.likelihood


def log_joint(
    program: PortedProgram, power: Array, latent: Array, scale: Array, observed: Observed
) -> Float[Array, "*batch"]:
    """Return log p(s) + power · log p(z | s) in JAX; the arguments broadcast."""
    if latent.ndim == 1:  # likelihoods expect a dimension of images
        single = jax.tree.map(lambda value: value[None], (latent, scale, observed))
        return log_joint(program, power, *single)[0]
    likelihood = sum(program.log_likelihood(latent, scale, observed).values())
    return program.log_prior(latent) + power * likelihood


@lru_cache(maxsize=4)
def _jitted_terms(program: PortedProgram) -> Callable:
    """Return the compiled function of a program, which several problems can share."""
    return jax.jit(partial(_terms, program))


def _terms(program: PortedProgram, latent: Array, scale: Array, observed: Observed) -> tuple[Array, dict[str, Array]]:
    return program.log_prior(latent), program.log_likelihood(latent, scale, observed)
