"""SimSiam's loss against its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers.baselines import built, normal


def cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def test_loss_is_its_formula():
    p_1, f_1, p_2, f_2 = (normal(6, 10, seed=seed) for seed in range(4))
    loss, parts = built("simsiam").pair((p_1, f_1), (p_2, f_2))
    expected = -0.5 * cosine(p_1.numpy(), f_2.numpy()).mean() - 0.5 * cosine(p_2.numpy(), f_1.numpy()).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-13)
    assert parts == {}


def test_loss_is_least_where_the_prediction_is_right_also_when_collapsed():
    module = built("simsiam")
    target = normal(6, 10)
    collapsed = target[:1].expand(6, 10)
    for one in (target, collapsed):
        assert module.pair((2 * one, one), (3 * one, one))[0].item() == pytest.approx(-1, rel=1e-13)
    assert module.pair((-target, target), (-target, target))[0].item() == pytest.approx(1, rel=1e-13)


def test_heads_are_the_papers():
    module = built("simsiam", "method.projector=[12,11,10]")
    kinds = [type(layer) for layer in module.projector.layers]
    block = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    assert kinds == [*block, *block, nn.Linear, nn.BatchNorm1d]
    output = module.projector.layers[-1]
    assert (output.num_features, output.affine) == (10, False)
    assert [type(layer) for layer in module.predictor.layers] == [*block, nn.Linear]
    sizes = [
        (layer.in_features, layer.out_features) for layer in module.predictor.layers if isinstance(layer, nn.Linear)
    ]
    assert sizes == [(10, 6), (6, 10)]


def test_gradient_is_that_of_fixed_targets():
    p, f = normal(6, 10).requires_grad_(), normal(6, 10, seed=1)
    loss, _ = built("simsiam").pair((p, f), (p, f))
    (gradient,) = torch.autograd.grad(loss, p)
    unit_p, unit_f = (one / one.norm(dim=1, keepdim=True) for one in (p.detach(), f))
    along = (unit_p * unit_f).sum(1, keepdim=True)
    expected = -(unit_f - along * unit_p) / p.detach().norm(dim=1, keepdim=True) / 6
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-14)
