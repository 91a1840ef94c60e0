"""LeJEPA's loss and gradient against the paper's algorithms and a closed form, and its Gaussian against SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from lightly.loss import LeJEPALoss
from scipy.stats import multivariate_normal

from tests.helpers.baselines import built, normal, views
from tests.helpers.differences import central_differences
from tests.helpers.directions import SEED, STEP, directions
from vje_ppl.methods.lejepa import LeJEPA
from vje_ppl.methods.method import PredictiveDensity, UncertainDensity
from vje_ppl.program.noise import KeyedNoise

DIRECTIONS = 16


def statistic(y: np.ndarray, largest: float = 3.0, knots: int = 17) -> np.ndarray:
    """Algorithm 1 of the paper on projections onto K directions, (N, K); on both halves of the axis."""
    t = np.linspace(-largest, largest, 2 * knots - 1)
    normal_cf = np.exp(-(t**2) / 2)
    empirical_cf = np.exp(1j * y[:, :, None] * t).mean(0)
    return len(y) * np.trapezoid(np.abs(empirical_cf - normal_cf) ** 2 * normal_cf, t)


def closed_form(y: np.ndarray) -> float:
    """The statistic of N numbers with the integral over the whole axis: Gaussian integrals, term by term."""
    images = len(y)
    pairs = np.exp(-((y[:, None] - y) ** 2) / 2).sum() * math.sqrt(2 * math.pi) / images**2
    single = 2 * np.exp(-(y**2) / 4).sum() * math.sqrt(math.pi) / images
    return images * (pairs - single + math.sqrt(2 * math.pi / 3))


def formula(p: np.ndarray, weight: float, pooled: bool = False) -> dict[str, float]:
    """Algorithm 2 of the paper with all views global, for projections (V, N, P)."""
    a = directions(p.shape[-1], DIRECTIONS)
    samples = p.reshape(1, -1, p.shape[-1]) if pooled else p
    sigreg = np.mean([statistic(one @ a).mean() for one in samples])
    invariance = np.mean((p.mean(0) - p) ** 2)
    return {"term/invariance": (1 - weight) * invariance, "term/sigreg": weight * sigreg}


def loss_of(module, p):
    with KeyedNoise(SEED, STEP):
        return module.of_views([(one,) for one in p])


@pytest.mark.parametrize("count", [2, 3], ids=["two views", "three views"])
@pytest.mark.parametrize("pooled", [False, True], ids=["each view", "pooled"])
def test_loss_and_its_terms_are_those_of_the_paper(count, pooled):
    p = 1.3 * normal(count, 7, 5) + 0.2
    module = built("lejepa", f"method.pool_views={pooled}".lower(), "method.weight=0.3")
    loss, parts = loss_of(module, p)
    expected = formula(p.numpy(), 0.3, pooled)
    # The integral's weights are kept in float32.
    assert {name: value.item() for name, value in parts.items()} == pytest.approx(expected, rel=1e-6)
    assert loss.item() == pytest.approx(sum(expected.values()), rel=1e-6)


@pytest.mark.parametrize("pooled", [False, True], ids=["each view", "pooled"])
def test_gradient_is_that_of_the_paper(pooled):
    p = (1.3 * normal(2, 6, 4) + 0.2).requires_grad_()
    module = built("lejepa", f"method.pool_views={pooled}".lower(), "method.weight=0.3")
    (gradient,) = torch.autograd.grad(loss_of(module, p)[0], p)
    expected = central_differences(lambda one: sum(formula(one, 0.3, pooled).values()), p.detach().numpy())
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8)


def test_statistic_is_its_integral_over_the_whole_axis():
    """With one feature, a direction is a sign, and the statistic is the same for both."""
    fine = ("method.frequencies=129", "method.largest_frequency=8", "method.weight=1")
    p = 0.7 * normal(2, 9, 1) - 0.4
    _, parts = loss_of(built("lejepa", *fine), p)
    expected = np.mean([closed_form(one.numpy()[:, 0]) for one in p])
    assert parts["term/sigreg"].item() == pytest.approx(expected, rel=1e-6)


def test_loss_is_that_of_lightly_where_local_views_repeat_the_global_ones():
    p = normal(2, 7, 10).float()
    lightly = LeJEPALoss(lambda_param=0.02, sigreg_num_vectors=DIRECTIONS)
    module = built("lejepa")
    torch.manual_seed(5)
    expected = lightly(local_proj=p, global_proj=p)
    torch.manual_seed(5)  # outside of a training step, both draw from the global generator
    loss, _ = module.of_views([(one,) for one in p])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_collapsed_projections_cost_more_than_gaussian_ones():
    module = built("lejepa", "method.weight=1")
    spread = normal(1, 256, 5).expand(2, 256, 5)
    costs = [loss_of(module, p)[0].item() for p in (torch.zeros_like(spread), 3 * spread, 0.3 * spread, spread)]
    assert min(costs[:3]) > 5 * costs[3]
    # Under the model, the expected statistic is ∫ (1 − exp(−t²)) exp(−t²/2) dt, whatever the number of images.
    assert costs[3] == pytest.approx(math.sqrt(2 * math.pi) - math.sqrt(2 * math.pi / 3), rel=0.5)


def test_surprise_is_that_of_a_standard_gaussian_of_the_projection():
    module = built("lejepa").eval()
    assert isinstance(module, PredictiveDensity)
    assert not isinstance(module, UncertainDensity)
    first, second = (module.embed(view).detach() for view in views())
    with torch.no_grad():
        found, p = module.surprise(first, second), module.projector(second).double().numpy()
        assert torch.equal(found, module.surprise(second, second))
    expected = -multivariate_normal(np.zeros(10), np.eye(10)).logpdf(p)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_surprise_without_a_projector_is_that_of_z():
    module = built("lejepa", "method.projector=[]").eval()
    z = normal(6, 7)
    expected = -multivariate_normal(np.zeros(7), np.eye(7)).logpdf(z.numpy())
    np.testing.assert_allclose(module.surprise(z, z), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weight": -0.1}, r"expects a weight from 0 to 1, got -0\.1"),
        ({"weight": math.nan}, "expects a weight from 0 to 1, got nan"),
        ({"directions": 0}, "expects directions of at least 1, got 0"),
        ({"frequencies": 1}, "expects frequencies of at least 2"),
        ({"largest_frequency": 0.0}, "a finite largest_frequency above 0, got 17 and 0"),
        ({"largest_frequency": math.inf}, "a finite largest_frequency above 0, got 17 and inf"),
    ],
    ids=str,
)
def test_a_number_out_of_range_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        LeJEPA(built("lejepa").encoder, [4], **options)
