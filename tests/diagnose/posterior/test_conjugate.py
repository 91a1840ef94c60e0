"""NUTS, best Gaussians, log evidence and gap against closed forms, where there are some."""

import numpy as np
import pytest
from scipy import stats

from tests.helpers.conjugate_reference import DIM, faulty, healthy, names, target
from vje_ppl.diagnose.faults import CollapsedFeature, NoFault, ScaledScale, ShiftedMean
from vje_ppl.diagnose.posterior.conjugate import exact_posterior
from vje_ppl.diagnose.posterior.offsets import offsets_of_gaussians
from vje_ppl.diagnose.posterior.problem import BAYESIAN
from vje_ppl.diagnose.report.section import Level
from vje_ppl.diagnose.sections.guide import guide_section
from vje_ppl.diagnose.sections.guide_verdicts import guide_verdicts


def exact_log_evidence(z, scale):
    """Of z ~ Normal(0, I + diag(σ²))."""
    return stats.norm.logpdf(z, scale=np.sqrt(1 + np.square(scale, dtype=np.float64))).sum(-1)


def test_exact_posterior_follows_bayes_rule():
    z, scale = np.array([0.3, -1.2]), np.array([0.5, 2.0])
    mean, deviation = exact_posterior(z, scale)
    s = np.array([[0.1, 0.4], [-0.7, 1.1], [2.0, -0.2]])
    joint = stats.norm.logpdf(s).sum(1) + stats.norm.logpdf(z, s, scale).sum(1)
    posterior = stats.norm.logpdf(s, mean, deviation).sum(1)
    np.testing.assert_allclose(joint - posterior, exact_log_evidence(z[None], scale[None])[0], rtol=1e-12)


def test_nuts_equals_the_closed_form_within_monte_carlo_error():
    sampled, scale = healthy().sampled(BAYESIAN), healthy().problem.scale
    mean, deviation = exact_posterior(target(), scale)
    error = deviation / np.sqrt(sampled.convergence.ess)
    assert np.abs(sampled.mean - mean).max() < 5 * error.max()
    z = (sampled.mean - mean) / error
    assert np.sqrt(np.square(z).mean()) < 1.5  # 48 standardized errors: 1 ± 0.1
    # The squares mix no worse than half as well as the values in these Gaussians
    assert np.abs(sampled.scale / deviation - 1).max() < 5 / np.sqrt(sampled.convergence.ess.min())
    assert sampled.convergence.converged.mean() > 0.9  # 800 draws leave R-hat some noise


def test_best_gaussian_is_the_posterior():
    mean, deviation = exact_posterior(target(), healthy().problem.scale)
    best = healthy().gaussians(BAYESIAN).best
    # Adam averages over some 150 steps of 6 pairs: a standard error of 1/sqrt(2 · 900) = 2.4 % in scale; twice that
    assert np.sqrt(np.square(best.scale[0] / deviation - 1).mean()) < 0.05
    assert np.sqrt(np.square((best.loc[0] - mean) / deviation).mean()) < 0.05


def test_log_evidence_equals_the_closed_form():
    gap = healthy().comparison(BAYESIAN).gap
    exact = exact_log_evidence(target(), healthy().problem.scale)
    assert np.abs(gap.log_evidence - exact).max() < 5 * gap.log_evidence_error.max()
    assert gap.log_evidence_error.max() < 0.1


@pytest.mark.parametrize("fault", [NoFault(), ScaledScale(0.5), ShiftedMean(1.0)], ids=["none", "scale", "mean"])
def test_parts_of_the_gap_add_up(fault):
    gap = faulty(fault).comparison(BAYESIAN).gap
    np.testing.assert_allclose(gap.information + gap.amortization + gap.family, gap.total, rtol=0, atol=1e-10)
    np.testing.assert_allclose(gap.total, gap.log_evidence - gap.guide_elbo, rtol=0, atol=1e-10)
    np.testing.assert_allclose(gap.information, 0, atol=0.03)  # this guide has seen its one target


@pytest.mark.parametrize(
    ("fault", "nats"),
    [
        (NoFault(), 0.0),
        (ScaledScale(0.5), DIM * (np.log(2) + 0.5 * (0.25 - 1))),  # KL of Normals with half the scale
        (ShiftedMean(1.0), DIM * 0.5),
    ],
    ids=["none", "scale", "mean"],
)
def test_amortization_is_the_kl_of_the_fault(fault, nats):
    gap = faulty(fault).comparison(BAYESIAN).gap
    # 1000 antithetic draws of a sum of D squares: below 0.05 nats an image, less on average over images
    assert gap.amortization.mean() == pytest.approx(nats, abs=0.05)


def test_bounds_of_a_wrong_guide_grow_towards_the_evidence():
    comparison = faulty(ShiftedMean(1.0)).comparison(BAYESIAN)
    means = [bound.mean() for bound in comparison.guide_bounds.values()]
    assert list(comparison.guide_bounds) == [1, 10, 100, 1000]
    assert np.all(np.diff(means) > 0)
    assert means[0] == pytest.approx(comparison.gap.guide_elbo.mean(), abs=0.1)
    assert means[-1] < comparison.gap.log_evidence.mean() + 0.05


@pytest.mark.parametrize(
    ("fault", "named", "words"),
    [
        (ScaledScale(0.5), "Scale of the guide", "too narrow: its scale is 0.50"),
        (ScaledScale(2.0), "Scale of the guide", "too wide: its scale is 2.0"),
        (ShiftedMean(1.0), "Mean of the guide", "is shifted"),
        (CollapsedFeature(1, 0.0, 0.01), "Features of the guide", "feature 1"),
    ],
    ids=["scale-halved", "scale-doubled", "mean-shifted", "feature-collapsed"],
)
def test_verdicts_name_a_planted_fault(fault, named, words):
    verdicts = _verdicts(fault)
    assert verdicts[named].level == Level.BAD
    assert words in verdicts[named].sentence
    assert verdicts["Amortization"].level == Level.BAD
    judged = {"Scale of the guide", "Mean of the guide", "Features of the guide"}
    assert all(verdicts[other].level == Level.GOOD for other in judged - {named})


def test_verdicts_find_nothing_in_the_exact_guide():
    assert max(verdict.level for verdict in _verdicts(NoFault()).values()) == Level.GOOD


def test_a_share_of_nothing_is_not_printed():
    verdict = _verdicts(NoFault())["Amortization"]
    assert "%" not in verdict.sentence
    assert "no share" in verdict.sentence


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # which is what the fault is for
def test_a_guide_whose_densities_overflow_gets_a_section():
    reference = faulty(ShiftedMean(1e25))
    problem = reference.problem
    offsets = offsets_of_gaussians(problem.guide_mean, problem.guide_scale, reference.gaussians(BAYESIAN))
    section = guide_section(reference, offsets, names())
    levels = {one.name: one.level for one in section.verdicts}
    assert levels["Amortization"] == levels["k-hat, bayesian"] == levels["Mean of the guide"] == Level.BAD
    assert len(section.pictures) == 7


def _verdicts(fault):
    reference = faulty(fault)
    problem = reference.problem
    offsets = offsets_of_gaussians(problem.guide_mean, problem.guide_scale, reference.gaussians(BAYESIAN))
    return {one.name: one for one in guide_verdicts(reference, offsets)}
