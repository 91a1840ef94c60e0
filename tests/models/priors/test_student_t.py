"""The multivariate Student-t prior."""

from __future__ import annotations

import pytest
import scipy.stats
import torch

from vje_ppl.models.priors.standard_normal import StandardNormal
from vje_ppl.models.priors.student_t import StudentTPrior


@pytest.mark.parametrize("df", [0.5, 5.0, 100.0])
def test_log_prob_equals_scipy(df):
    value = torch.randn(4, 3).double()
    expected = scipy.stats.multivariate_t.logpdf(value.numpy(), shape=torch.eye(3).numpy(), df=df)
    torch.testing.assert_close(StudentTPrior(3, df).double()().log_prob(value), torch.tensor(expected))


def test_draws_have_uniform_directions_and_a_heavy_tailed_radius():
    draws = StudentTPrior(6, df=5.0).double()().sample((20_000,))
    radius = draws.norm(dim=-1)
    # Fixed seed: a right sampler fails one seed in 10⁴.
    assert scipy.stats.kstest(radius.square() / 6, scipy.stats.f(6, 5).cdf).pvalue > 1e-4
    direction = draws / radius.unsqueeze(-1)
    share = (direction[:, 0] + 1) / 2  # of a uniform direction in R⁶, Beta(5/2, 5/2)
    assert scipy.stats.kstest(share, scipy.stats.beta(2.5, 2.5).cdf).pvalue > 1e-4


def test_becomes_the_standard_normal_as_df_grows():
    value = torch.randn(4, 3).double()
    ours, limit = StudentTPrior(3, df=1e8).double()(), StandardNormal(3).double()()
    # The first correction is of the order of (‖s‖² + D)²/ν.
    torch.testing.assert_close(ours.log_prob(value), limit.log_prob(value), rtol=0, atol=1e-5)


def test_df_crosses_to_the_twin_as_a_buffer_and_is_not_learned():
    prior = StudentTPrior(3, df=7.0)
    assert {name: float(value) for name, value in prior.named_buffers()} == {"df": 7.0}
    assert not list(prior.parameters())


@pytest.mark.parametrize("df", [0.0, -1.0, float("nan")])
def test_degrees_of_freedom_that_are_not_positive_are_refused_in_a_sentence(df):
    with pytest.raises(ValueError, match="StudentTPrior expects positive degrees of freedom, got df="):
        StudentTPrior(3, df)
