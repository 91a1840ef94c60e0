"""One small conjugate case, whose Gaussians, chains and compiled functions several tests share."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from vje_ppl.diagnose.faults import Fault, NoFault
from vje_ppl.diagnose.posterior.conjugate import ConjugateCase
from vje_ppl.diagnose.posterior.nuts import NUTSOptions
from vje_ppl.diagnose.posterior.reference import Reference

IMAGES, DIM, SAMPLES = 16, 3, 1000
OPTIONS = NUTSOptions(chains=4, warmup=100, draws=200, thin=2)


@cache
def healthy() -> Reference:
    """The exact posterior as guide."""
    return Reference(_case(NoFault()).problem(), OPTIONS, quiet=True)


def faulty(fault: Fault) -> Reference:
    """The same posteriors beside a guide, or a sampler's scale, with a fault."""
    problem = _case(fault).problem()
    return healthy().beside(replace(problem, program=healthy().problem.program))


def names() -> list[str]:
    """Of the images."""
    return [f"image {n}" for n in range(IMAGES)]


def target() -> np.ndarray:
    """What is observed, (N, D)."""
    return healthy().problem.observed["embedding"][0]


def _case(fault: Fault) -> ConjugateCase:
    return ConjugateCase(IMAGES, DIM, seed=0, draws=SAMPLES, fault=fault)
