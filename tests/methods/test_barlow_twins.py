"""Barlow Twins' loss against its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.helpers.baselines import built, normal

#: What lightly's standardization adds to variances.
EPS = 1e-5


def formula(p_1: np.ndarray, p_2: np.ndarray, redundancy: float) -> float:
    one, other = ((p - p.mean(0)) / np.sqrt(p.var(0) + EPS) for p in (p_1, p_2))
    correlation = one.T @ other / len(p_1)
    diagonal = np.diag(correlation)
    return np.sum((1 - diagonal) ** 2) + redundancy * (np.sum(correlation**2) - np.sum(diagonal**2))


@pytest.mark.parametrize("redundancy", [0.005, 0.5])
def test_loss_is_its_formula(redundancy):
    p_1, p_2 = normal(7, 10), normal(7, 10, seed=1)
    loss, _ = built("barlow_twins", f"method.redundancy={redundancy}").pair((p_1,), (p_2,))
    assert loss.item() == pytest.approx(formula(p_1.numpy(), p_2.numpy(), redundancy), rel=1e-12)


def test_collapsed_projections_cost_all_and_spread_ones_nothing():
    module = built("barlow_twins")
    collapsed = normal(1, 4).expand(8, 4)
    assert module.pair((collapsed,), (collapsed,))[0].item() == pytest.approx(4, rel=1e-9)  # one a feature
    spread = torch.linalg.qr(normal(8, 5) - normal(8, 5).mean(0)).Q[:, :4] * 8**0.5
    # Correlations fall short of one by the share of the added variance.
    assert module.pair((spread,), (spread,))[0].item() == pytest.approx(0, abs=4 * EPS**2 + 1e-12)


def test_scale_of_features_does_not_matter():
    module = built("barlow_twins")
    p_1, p_2 = normal(7, 10), normal(7, 10, seed=1)
    scale = torch.arange(1.0, 11, dtype=torch.float64)
    first, second = (module.pair((one,), (other,))[0].item() for one, other in ((p_1, p_2), (scale * p_1, p_2)))
    assert first == pytest.approx(second, rel=1e-3)  # up to the added variance, of features with a variance near 1
