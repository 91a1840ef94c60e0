"""A step that is skipped leaves nothing behind, whatever the optimizer."""

from __future__ import annotations

from copy import deepcopy

import pyro
import pytest
import torch

from tests.helpers.cases import composed
from vje_ppl.parallel.fabric import Fabric
from vje_ppl.settings.build import build_method
from vje_ppl.train.step import TrainingStep


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("method", ["vje", "byol"])
@pytest.mark.parametrize("good_steps", [0, 2])
def test_a_skipped_step_leaves_module_and_optimizer(method, optimizer, good_steps):
    if method == "byol":
        pytest.importorskip("lightly")  # it moves a second network after each step
    pyro.enable_validation(False)  # as in training: with it, a NaN is an exception
    config = composed(
        *(f"method={method}", f"optimizer={optimizer}", "trainer.on_nonfinite=skip"),
        *("encoder.width=8", "encoder.dim=4", "batch_size=8"),
    )
    torch.manual_seed(0)
    module = build_method(config, channels=1, image_size=8)
    take_step = TrainingStep(Fabric(accelerator="cpu", devices=1), module, config, steps_per_epoch=4)
    views = torch.randn(2, 8, 1, 8, 8)
    for step in range(good_steps):
        take_step(step, views)
        assert not take_step.finiteness.any_bad
    before = deepcopy((module.state_dict(), take_step.optimizer.state_dict()["state"]))
    broken = views.clone()
    broken[0, 3] = torch.nan
    take_step(good_steps, broken)
    assert take_step.finiteness.any_bad
    torch.testing.assert_close(module.state_dict(), before[0], rtol=0, atol=0)
    torch.testing.assert_close(take_step.optimizer.state_dict()["state"], before[1], rtol=0, atol=0)
    take_step(good_steps + 1, views)
    assert not all(torch.equal(weight, before[0][name]) for name, weight in module.state_dict().items())
