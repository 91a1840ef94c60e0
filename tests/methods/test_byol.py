"""BYOL's loss, and the momentum of its target network, against their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.helpers.baselines import built, normal, views
from tests.methods.test_simsiam import cosine
from vje_ppl.methods.byol import BYOL, cosine_momentum


def test_loss_is_its_formula():
    p_1, t_1, p_2, t_2 = (normal(6, 10, seed=seed) for seed in range(4))
    loss, parts = built("byol").pair((p_1, t_1), (p_2, t_2))

    def squared(p, t):  # equation 2 of the paper
        unit_p, unit_t = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (p.numpy(), t.numpy()))
        return ((unit_p - unit_t) ** 2).sum(1).mean()

    assert loss.item() == pytest.approx(squared(p_1, t_2) + squared(p_2, t_1), rel=1e-12)
    expected = 4 - 2 * cosine(p_1.numpy(), t_2.numpy()).mean() - 2 * cosine(p_2.numpy(), t_1.numpy()).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    assert parts == {}


def test_target_network_starts_as_the_online_one():
    module = built("byol")
    first, second = views()
    (_, target) = module.branch(first, module.embed(first))
    torch.testing.assert_close(target, module.projector(module.embed(first)))
    assert not torch.equal(first, second)


def test_target_parameters_are_the_closed_formula_of_all_online_ones():
    steps, module = 7, built("byol", "method.momentum=0.9")
    online = {name: one for name, one in module.named_parameters() if name.startswith(("encoder.", "projector."))}
    targets = {name: dict(module.named_parameters())[f"target_{name}"] for name in online}
    start = {name: one.detach().double().numpy().copy() for name, one in targets.items()}
    history = {name: [] for name in online}
    optimizer = torch.optim.SGD(online.values(), lr=0.5)
    for step in range(steps):
        module(*views(seed=step)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        for name, one in online.items():
            history[name].append(one.detach().double().numpy().copy())
        module.after_step(step, steps)
    tau = [1 - 0.1 * (math.cos(math.pi * step / steps) + 1) / 2 for step in range(steps)]
    assert tau[0] == pytest.approx(0.9)
    for name, one in targets.items():
        expected = math.prod(tau) * start[name]
        for step in range(steps):
            expected = expected + (1 - tau[step]) * math.prod(tau[step + 1 :]) * history[name][step]
        # Seven float32 updates: as many units in the last place of numbers up to a few.
        np.testing.assert_allclose(one.numpy(), expected, rtol=0, atol=7 * 2**-23 * 4, err_msg=name)
    gaps = [np.abs(one.numpy() - history[name][-1]).max() for name, one in targets.items()]
    assert max(gaps) > 0.01  # and the target is behind the online network


def test_momentum_runs_from_its_start_to_one():
    assert cosine_momentum(0.996, 0, 100) == pytest.approx(0.996)
    assert cosine_momentum(0.996, 50, 100) == pytest.approx(0.998)
    assert cosine_momentum(0.996, 100, 100) == 1
    values = [cosine_momentum(0.9, step, 10) for step in range(11)]
    assert values == sorted(values)


def test_batch_statistics_of_the_target_network_are_its_own():
    module = built("byol")
    module(*views())
    names = [name for name, _ in module.named_buffers() if "running" in name]
    assert {name.split(".")[0] for name in names} == {
        *("encoder", "projector", "predictor", "target_encoder", "target_projector")
    }
    before = {name: one.clone() for name, one in module.named_buffers()}
    module.after_step(0, 10)
    assert all(torch.equal(one, before[name]) for name, one in module.named_buffers())


@pytest.mark.parametrize("momentum", [-0.1, 1.1])
def test_momentum_outside_its_range_is_refused(momentum):
    with pytest.raises(ValueError, match="expects a momentum from 0 to 1"):
        BYOL(built("byol").encoder, [4, 4], 4, momentum)
