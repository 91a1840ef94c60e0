"""VICReg's loss against its formula, and against lightly's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lightly.loss import VICRegLoss
from torch import nn

from tests.helpers.baselines import built, normal


def formula(p_1: np.ndarray, p_2: np.ndarray) -> dict[str, float]:
    images, features = p_1.shape
    variance = covariance = 0.0
    for p in (p_1, p_2):
        centred = p - p.mean(0)
        matrix = centred.T @ centred / (images - 1)
        variance += np.maximum(0, 1 - np.sqrt(np.diag(matrix) + 1e-4)).mean() / 2
        covariance += (np.sum(matrix**2) - np.sum(np.diag(matrix) ** 2)) / features
    return {
        "term/invariance": 25 * np.mean((p_1 - p_2) ** 2),
        "term/variance": 25 * variance,
        "term/covariance": covariance,
    }


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_loss_and_its_terms_are_their_formulas(scale):
    p_1, p_2 = scale * normal(7, 10), scale * normal(7, 10, seed=1)
    loss, parts = built("vicreg").pair((p_1,), (p_2,))
    expected = formula(p_1.numpy(), p_2.numpy())
    assert {name: value.item() for name, value in parts.items()} == pytest.approx(expected, rel=1e-12)
    assert loss.item() == pytest.approx(sum(expected.values()), rel=1e-12)
    assert loss.item() == pytest.approx(VICRegLoss()(p_1, p_2).item(), rel=1e-12)


def test_weights_are_those_of_the_configuration():
    p_1, p_2 = normal(7, 10), normal(7, 10, seed=1)
    weights = ("method.invariance=2", "method.variance=3", "method.covariance=5")
    _, parts = built("vicreg", *weights).pair((p_1,), (p_2,))
    expected = formula(p_1.numpy(), p_2.numpy())
    for name, weight, default in zip(expected, (2, 3, 5), (25, 25, 1), strict=True):
        assert parts[name].item() == pytest.approx(expected[name] * weight / default, rel=1e-12)


def test_collapsed_projections_cost_their_whole_variance_and_spread_ones_nothing():
    module = built("vicreg")
    collapsed = normal(1, 4).expand(8, 4)
    _, parts = module.pair((collapsed,), (collapsed,))
    assert parts["term/variance"].item() == pytest.approx(25 * (1 - 1e-2), rel=1e-12)  # sqrt of the 1e-4 is left
    assert parts["term/invariance"] == 0
    assert parts["term/covariance"].item() == pytest.approx(0, abs=1e-12)
    spread = torch.linalg.qr(normal(8, 5) - normal(8, 5).mean(0)).Q[:, :4] * 7**0.5  # identity as its covariance
    loss, _ = module.pair((spread,), (spread,))
    assert loss.item() == pytest.approx(0, abs=1e-12)


def test_projector_is_the_papers():
    module = built("vicreg", "method.projector=[12,11,10]")
    block = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    assert [type(layer) for layer in module.projector.layers] == [*block, *block, nn.Linear]
