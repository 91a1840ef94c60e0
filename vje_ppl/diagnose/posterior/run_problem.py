"""The posteriors of a trained run that a diagnosis is about."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pyro.distributions as dist
import torch
from torch import Tensor

from vje_ppl.diagnose.posterior.ported_program import ported_program
from vje_ppl.diagnose.posterior.problem import PosteriorProblem
from vje_ppl.diagnose.run import SOURCE, DiagnosedRun
from vje_ppl.program.moments import moments


def problem_of_run(run: DiagnosedRun) -> PosteriorProblem:
    """Return the posteriors of the source view, given each target view; the guide sees only the source view.

    Raises:
        UserError: if a part of the run has no NumPyro twin.
    """
    program = ported_program(run.run)
    scale, targets = _array(run.likelihood_scale), _array(run.targets)
    observed = program.observe(jnp.broadcast_to(jnp.asarray(scale), targets.shape), jnp.asarray(targets))
    posterior = run.posterior_of(SOURCE)
    draws = run.draws(run.options.samples)
    with torch.no_grad():
        mean, deviation = moments(posterior)
        distribution = posterior.distribution()
        log_prob = distribution.log_prob(draws)
    return PosteriorProblem(
        program=program,
        scale=scale,
        observed={name: np.asarray(value) for name, value in observed.items()},
        start=targets,
        guide_mean=_array(mean),
        guide_scale=_array(deviation),
        guide_draws=_array(draws),
        guide_log_prob=_array(log_prob).astype(np.float64),
        guide_is_diagonal=_is_diagonal(distribution),
        beta=run.beta,
        seed=run.seed,
        sampler_scale=_array(run.fault.sampler_scale(run.likelihood_scale)),
        sampler_power=run.fault.sampler_power(),
    )


def _is_diagonal(distribution: Any) -> bool:
    return isinstance(distribution, dist.Independent) and isinstance(distribution.base_dist, dist.Normal)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()
