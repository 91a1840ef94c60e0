"""A small program and embeddings of a few views, with what they are scored by."""

from __future__ import annotations

import torch

from tests.helpers.cases import LikelihoodCase, built
from vje_ppl.measures.anomaly.traced import map_posterior
from vje_ppl.measures.anomaly.view_pairs import ScoreOptions

D, N, M, PAIRS = 3, 5, 7, 2
VIEWS = 1 + 2 * PAIRS
OPTIONS = ScoreOptions(samples=4, pairs=PAIRS, aggregate_images=100, aggregate_samples=3, regret_steps=2)
DF = 1.5


def small_program():
    """A program with SciPy's densities at its sites, in float64."""
    likelihood = LikelihoodCase("polar_student_t", (f"likelihood.df={DF}", "likelihood.radius.df=4.0"))
    return built(likelihood=likelihood, dim=D).double().eval()


def inferred(program, z):
    return map_posterior(program.guide.infer(z.flatten(0, -2)), lambda one: one.unflatten(0, z.shape[:-1]))


def views(seed=0, count=N):
    return torch.randn(VIEWS, count, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_row(found):
    return {(kind.name, kind.views): values.numpy() for kind, values in found.items()}


PAIRS_OF = {
    "clean-clean": [(0, 0)],
    "clean-augmented": [(0, 1), (1, 0), (0, 2), (2, 0)],
    "augmented-augmented": [(1, 2), (2, 1), (3, 4), (4, 3)],
}
