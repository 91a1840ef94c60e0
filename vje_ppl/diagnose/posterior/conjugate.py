"""A synthetic case with a known answer: Normal prior, Normal likelihood, and the exact posterior as guide."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpyro
import numpyro.distributions as dist
import torch
from jaxtyping import Array, Float

from vje_ppl.diagnose.faults import Fault
from vje_ppl.diagnose.posterior.ported_program import Observed, PortedProgram
from vje_ppl.diagnose.posterior.problem import PosteriorProblem
from vje_ppl.errors import UserError
from vje_ppl.numpyro_port.priors.standard_normal import StandardNormal


def normal_embedding(latent: Array, scale: Array, target: Array | None = None) -> None:
    """Declare the Cartesian likelihood in the Gaussian limit: z ~ Normal(s, diag(scale²)), site "embedding"."""
    numpyro.sample("embedding", dist.Normal(latent, scale).to_event(1), obs=target)


class ConjugateCase:
    """N synthetic images: s ~ Normal(0, I), z ~ Normal(s, diag(σ²)), with a guide that sees z and knows the posterior

        q(s | z) = Normal(z / (1 + σ²), diag(σ² / (1 + σ²)))

    so that k-hat, gap and calibration find nothing unless a fault is planted.

    Args:
        images: N.
        dim: D.
        seed: seed of all draws.
        draws: number S of draws of the guide.
        fault: the planted fault.

    Raises:
        UserError: for less than one image or feature.
    """

    def __init__(self, images: int, dim: int, seed: int, draws: int, fault: Fault) -> None:
        if images < 1 or dim < 1:
            raise UserError(f"case=conjugate expects at least one image and one feature, got {images} and {dim}.")
        self._images, self._dim, self._seed, self._draws, self.fault = images, dim, seed, draws, fault

    def problem(self) -> PosteriorProblem:
        """Return the problem, with the fault."""
        rng = np.random.default_rng(self._seed)
        shape = (self._images, self._dim)
        scale = np.exp(rng.normal(math.log(0.5), 0.4, shape)).astype(np.float32)
        target = (rng.standard_normal(shape) + scale * rng.standard_normal(shape)).astype(np.float32)
        mean, deviation = self.guide({"embedding": target}, scale)
        noise = rng.standard_normal((self._draws, *shape)).astype(np.float32)
        log_prob = -0.5 * np.square(noise, dtype=np.float64).sum(-1) - np.log(deviation, dtype=np.float64).sum(-1)
        return PosteriorProblem(
            program=PortedProgram(StandardNormal(self._dim), normal_embedding),
            scale=scale,
            observed={"embedding": target[None]},
            start=target[None],
            guide_mean=mean,
            guide_scale=deviation,
            guide_draws=mean + deviation * noise,
            guide_log_prob=log_prob - 0.5 * self._dim * math.log(2 * math.pi),
            guide_is_diagonal=True,
            beta=1.0,
            seed=self._seed,
            sampler_scale=self.fault.sampler_scale(torch.from_numpy(scale)).numpy(),
            sampler_power=self.fault.sampler_power(),
            guide_of=self.guide,
        )

    def guide(
        self, observed: Observed, scale: Float[np.ndarray, "M D"]
    ) -> tuple[Float[np.ndarray, "M D"], Float[np.ndarray, "M D"]]:
        """Return means and scales of the guide, with the fault, for M observations."""
        exact = exact_posterior(np.asarray(observed["embedding"]), scale)
        faulty = self.fault.posterior(_Moments(*map(torch.from_numpy, exact)))
        return faulty.mean.numpy(), faulty.scale.numpy()


@dataclass(frozen=True)
class _Moments:
    """The moments that faults change."""

    mean: Any
    scale: Any


def exact_posterior(
    target: Float[np.ndarray, "*batch D"], scale: Float[np.ndarray, "*batch D"]
) -> tuple[Float[np.ndarray, "*batch D"], Float[np.ndarray, "*batch D"]]:
    """Return the mean and standard deviation of s given z, in closed form."""
    precision = 1 + 1 / np.square(scale)
    return target / np.square(scale) / precision, 1 / np.sqrt(precision)
