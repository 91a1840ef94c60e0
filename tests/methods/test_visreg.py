"""VISReg's loss and gradient against its formula with SciPy's quantiles."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from lightly.loss import VISRegLoss
from scipy.stats import multivariate_normal, norm

from tests.helpers.baselines import built, normal
from tests.helpers.differences import central_differences
from tests.helpers.directions import SEED, STEP, directions
from vje_ppl.methods.method import PredictiveDensity, UncertainDensity
from vje_ppl.methods.visreg import VISReg
from vje_ppl.program.noise import KeyedNoise

DIRECTIONS = 16
WEIGHTS = ("method.weight=0.3", "method.scale=2", "method.shape=3", "method.center=5")


def formula(p: np.ndarray, deviation: np.ndarray | None = None) -> dict[str, float]:
    """Equations 1 to 8 of the paper, for projections (V, N, P); deviations that take no gradient may be given."""
    images, a = p.shape[1], directions(p.shape[-1], DIRECTIONS)
    quantiles = norm.ppf(np.arange(1, images + 1) / (images + 1))
    terms = {"scale": 0.0, "shape": 0.0, "center": 0.0}
    for number, one in enumerate(p):
        mean, std = one.mean(0), np.sqrt(((one - one.mean(0)) ** 2).mean(0))
        fixed = std if deviation is None else deviation[number]
        sliced = np.sort((one - mean) / (fixed + 1e-4) @ a, axis=0)
        terms["scale"] += np.mean((1 - std) ** 2) / len(p)
        terms["shape"] += np.mean((sliced - quantiles[:, None]) ** 2) / len(p)
        terms["center"] += np.mean(mean**2) / len(p)
    weighted = {"term/scale": 0.6 * terms["scale"], "term/shape": 0.9 * terms["shape"]}
    return weighted | {"term/center": 1.5 * terms["center"], "term/invariance": 0.7 * np.mean((p.mean(0) - p) ** 2)}


def loss_of(module, p):
    with KeyedNoise(SEED, STEP):
        return module.of_views([(one,) for one in p])


@pytest.mark.parametrize("count", [2, 3], ids=["two views", "three views"])
def test_loss_and_its_terms_are_their_formulas(count):
    p = 1.3 * normal(count, 7, 5) + 0.2
    loss, parts = loss_of(built("visreg", *WEIGHTS), p)
    expected = formula(p.numpy())
    # The quantiles are computed in float32.
    assert {name: value.item() for name, value in parts.items()} == pytest.approx(expected, rel=1e-5)
    assert loss.item() == pytest.approx(sum(expected.values()), rel=1e-5)


def test_gradient_is_that_of_the_formula_with_stopped_deviations():
    p = (1.3 * normal(2, 6, 4) + 0.2).requires_grad_()
    (gradient,) = torch.autograd.grad(loss_of(built("visreg", *WEIGHTS), p)[0], p)
    at = p.detach().numpy()
    expected = central_differences(lambda one: sum(formula(one, at.std(1)).values()), at)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-7)


def test_loss_is_that_of_lightly_without_local_views():
    p = normal(2, 7, 10).float()
    module, lightly = built("visreg"), VISRegLoss(lambda_param=0.6, num_slices=DIRECTIONS)
    torch.manual_seed(5)
    expected = lightly(local_proj=p[:0], global_proj=p)
    torch.manual_seed(5)  # outside of a training step, both draw from the global generator
    loss, _ = module.of_views([(one,) for one in p])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_gradient_of_the_scale_is_largest_where_projections_collapse():
    module, start = built("visreg", "method.weight=1", "method.shape=0", "method.center=0"), normal(6, 4)
    sizes = []
    for scale in (1e-3, 0.5, 0.9):
        p = (scale * start).expand(2, 6, 4).clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss_of(module, p)[0], p)
        sizes.append(gradient.norm().item())
    assert sizes == sorted(sizes, reverse=True)


def test_surprise_is_that_of_a_standard_gaussian_of_the_projection():
    module = built("visreg", "method.projector=[]").eval()
    assert isinstance(module, PredictiveDensity)
    assert not isinstance(module, UncertainDensity)
    z = normal(6, 7)
    expected = -multivariate_normal(np.zeros(7), np.eye(7)).logpdf(z.numpy())
    np.testing.assert_allclose(module.surprise(z, z), expected, rtol=1e-12)


@pytest.mark.parametrize("options", [{"scale": -1.0}, {"shape": math.inf}, {"center": math.nan}], ids=str)
def test_a_weight_out_of_range_is_refused(options):
    with pytest.raises(ValueError, match="expects finite weights of at least 0, got scale="):
        VISReg(built("visreg").encoder, [4], **options)
