"""Whether an ELBO is a bound follows from the likelihood's base measure."""

import pyro
import pytest
import torch

from tests.helpers.cases import LIKELIHOODS, built
from vje_ppl.program.base_measure import bound_note, elbo_is_bound

POINTS = 5_000
ON_THE_CIRCLE = [case for case in LIKELIHOODS if not case.name.startswith("cartesian")]


def integral_over_the_circle(likelihood, scale):
    """The integral of the direction's density given a latent direction in R², by the trapezoid rule."""
    angle = torch.linspace(0, 2 * torch.pi, POINTS + 1, dtype=torch.float64)[:-1]
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    latent = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(POINTS, 2)
    trace = pyro.poutine.trace(likelihood).get_trace(latent, torch.full((POINTS, 2), scale).double(), circle)
    density = trace.nodes["direction"]["fn"].log_prob(circle).exp()
    return density.mean().item() * 2 * torch.pi


@pytest.mark.parametrize("case", ON_THE_CIRCLE, ids=str)
def test_an_elbo_is_a_bound_if_no_direction_integrates_to_more_than_one(case):
    likelihood = built(likelihood=case, dim=2).model.likelihood.double()
    # Off the antipode the densities are analytic within a scale of the circle, eight distances h of the points or more:
    # an error of the order of exp(-2π·8). A kink at the antipode adds less than its slope times h²/6, or 1e-7.
    largest = max(integral_over_the_circle(likelihood, scale) for scale in (0.01, 0.1, 1.0))
    assert elbo_is_bound(likelihood.base_measure) == (largest < 1 + 1e-6)


def test_another_measure_is_not_known():
    assert elbo_is_bound("my own") is None
    assert bound_note("my own") == "ELBO [my own]: whether it is a bound on the log evidence is not known."
