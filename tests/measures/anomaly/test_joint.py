"""`joint` against SciPy's Gaussian and the program's `predictive`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf

from tests.measures.anomaly.small import OPTIONS, PAIRS_OF, M, N, by_row, inferred, views
from vje_ppl.measures.anomaly.program_scores import ProgramScores


def log_marginal(training, z):
    fitted = LedoitWolf().fit(training.numpy())
    return multivariate_normal.logpdf(z.numpy(), fitted.location_, fitted.covariance_)


@torch.no_grad()
def test_a_marginal_by_kind_of_view_and_the_conditional_of_every_pair(program):
    z, clean, augmented = views(), views(1, M)[0], 2 * views(2, M)[0] - 1
    posterior, images = inferred(program, z), torch.arange(N)
    scores = ProgramScores(program, clean, OPTIONS, augmented)
    found = by_row(scores(z, posterior, images))
    marginal = [log_marginal(augmented if view else clean, z[view]) for view in range(len(z))]
    for kind, pairs in PAIRS_OF.items():
        expected = found["predictive", kind] - np.mean([marginal[a] for a, _ in pairs], axis=0)
        np.testing.assert_allclose(found["joint", kind], expected, rtol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("with_views", [True, False])
def test_without_random_views_of_training_images_only_the_clean_pair_is_scored(program, with_views):
    z = views()
    scores = ProgramScores(program, z[0], OPTIONS, z[1] if with_views else None)
    found = {views for name, views in by_row(scores(z, inferred(program, z), torch.arange(N))) if name == "joint"}
    assert found == (set(PAIRS_OF) if with_views else {"clean-clean"})
