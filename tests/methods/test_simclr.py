"""SimCLR's loss and gradient against its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers.baselines import built, normal
from tests.helpers.differences import central_differences
from vje_ppl.methods.simclr import SimCLR


def formula(p: np.ndarray, temperature: float) -> float:
    """Algorithm 1 of the paper, for projections of two views, (2, N, P)."""
    both, images = np.concatenate(p), p.shape[1]
    unit = both / np.linalg.norm(both, axis=1, keepdims=True)
    loss = 0.0
    for i in range(2 * images):
        cosines = unit @ unit[i] / temperature
        others = np.delete(cosines, i)
        loss += np.log(np.exp(others).sum()) - cosines[(i + images) % (2 * images)]
    return loss / (2 * images)


@pytest.mark.parametrize("temperature", [0.2, 0.5])
def test_loss_and_gradient_are_those_of_the_formula(temperature):
    p = normal(2, 5, 10).requires_grad_()
    loss, parts = built("simclr", f"method.temperature={temperature}").pair((p[0],), (p[1],))
    (gradient,) = torch.autograd.grad(loss, p)
    assert loss.item() == pytest.approx(formula(p.detach().numpy(), temperature), rel=1e-12)
    expected = central_differences(lambda one: formula(one, temperature), p.detach().numpy())
    np.testing.assert_allclose(gradient, expected, atol=1e-8)
    assert parts == {}


def test_collapsed_projections_are_a_guess_among_all_others():
    collapsed = normal(1, 4).expand(8, 4)
    loss, _ = built("simclr").pair((collapsed,), (collapsed,))
    assert loss.item() == pytest.approx(math.log(15), rel=1e-12)


def test_scale_of_a_projection_does_not_matter():
    module, p_1, p_2 = built("simclr"), normal(7, 10), normal(7, 10, seed=1)
    scale = torch.arange(1.0, 8, dtype=torch.float64).unsqueeze(1)
    first, second = (module.pair((one,), (p_2,))[0].item() for one in (p_1, scale * p_1))
    assert first == pytest.approx(second, rel=1e-12)


def test_projector_has_one_hidden_layer():
    layers = built("simclr", "method.projector=[12,10]").projector.layers
    assert [type(layer) for layer in layers] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_a_temperature_out_of_range_is_refused(temperature):
    with pytest.raises(ValueError, match="expects a finite temperature above 0"):
        SimCLR(built("simclr").encoder, [4], temperature)
