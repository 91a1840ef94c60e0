"""A step that is passed over leaves nothing behind, whatever the optimizer."""

from __future__ import annotations

from copy import deepcopy

import pyro
import pytest
import torch
from lightning.fabric import Fabric
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.helpers.cases import composed
from vje_ppl.settings.build import build_method
from vje_ppl.train.monitor import Finiteness, gradient_norm
from vje_ppl.train.rollback import Rollback
from vje_ppl.train.step import TrainingStep


class CountsInPython(torch.optim.Optimizer):
    """An optimizer of a user's own: what it remembers is a number of Python, which no device can choose."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})
        self.steps = 0

    @torch.no_grad()
    def step(self, closure=None):
        self.steps += 1
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter -= group["lr"] / self.steps * parameter.grad


OPTIMIZERS = {
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.1),
    "adamw-fused": lambda parameters: torch.optim.AdamW(parameters, lr=0.1, fused=True),
    "amsgrad": lambda parameters: torch.optim.Adam(parameters, lr=0.1, amsgrad=True),
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "sgd-nesterov": lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "sgd-fused": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, fused=True),
    "sgd-dampened": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, dampening=0.5),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, lr=0.1, centered=True, momentum=0.9),
    "nadam": lambda parameters: torch.optim.NAdam(parameters, lr=0.1),
    "adagrad": lambda parameters: torch.optim.Adagrad(parameters, lr=0.1),
    "rprop": lambda parameters: torch.optim.Rprop(parameters, lr=0.1),
    "own": CountsInPython,
}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 1))


def batches(count=5):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(8, 3, generator=generator) for _ in range(count)]


def take(rollback, module, optimizer, batch):
    rollback.begin()
    loss = module(batch).square().mean()
    loss.backward()
    norm = gradient_norm(module.parameters())
    rollback.step(Finiteness.of({"loss": loss, "gradient": norm}).any_bad, optimizer.step)
    optimizer.zero_grad()


def everything(module, optimizer):
    held = [*module.state_dict().values()]
    for state in optimizer.state_dict()["state"].values():
        held += [state[key] for key in sorted(state)]
    return [*held, getattr(optimizer, "steps", 0)]


def assert_equal(one, other):
    for left, right in zip(one, other, strict=True):
        assert torch.equal(left, right) if torch.is_tensor(left) else left == right


@pytest.mark.parametrize("bad_step", [0, 2], ids=["first", "third"])
@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_rollback_ends_as_if_the_bad_batch_had_never_been(make, bad_step):
    good = batches()
    with_bad = [*good[:bad_step], torch.full((8, 3), torch.nan), *good[bad_step:]]
    ends = []
    for sequence in (good, with_bad):
        module = network()
        optimizer = make(module.parameters())
        rollback = Rollback(module, optimizer)
        for batch in sequence:
            take(rollback, module, optimizer, batch)
        ends.append(everything(module, optimizer))
    assert_equal(*ends)


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_rollback_of_no_bad_batch_changes_no_bit(make):
    ends = []
    for guarded in (True, False):
        module = network()
        optimizer = make(module.parameters())
        rollback = Rollback(module, optimizer)
        for batch in batches():
            if guarded:
                take(rollback, module, optimizer, batch)
            else:
                module(batch).square().mean().backward()
                optimizer.step()
                optimizer.zero_grad()
        ends.append(everything(module, optimizer))
    assert_equal(*ends)


class CountsReads(TorchDispatchMode):
    """Counts how often a number is fetched from a tensor: what a GPU would be waited for."""

    reads = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.reads += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["sgd-nesterov", "sgd"])
def test_rollback_waits_for_the_first_step_alone(name):
    module = network()
    optimizer = OPTIMIZERS[name](module.parameters())
    rollback = Rollback(module, optimizer)
    reads = []
    for batch in [*batches(2), torch.full((8, 3), torch.nan)]:
        with CountsReads() as counter:
            take(rollback, module, optimizer, batch)
        reads.append(counter.reads)
    assert reads == [1, 0, 0]


def test_a_parameter_that_joins_late_is_waited_for_again():
    module = network()
    module[0].requires_grad_(False)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, dampening=0.5)
    rollback = Rollback(module, optimizer)
    for batch in batches(2):
        take(rollback, module, optimizer, batch)
    module[0].requires_grad_(True)
    before = deepcopy(everything(module, optimizer))
    take(rollback, module, optimizer, torch.full((8, 3), torch.nan))
    assert_equal(before, everything(module, optimizer))


@pytest.mark.parametrize("method", ["vje", "byol"])
def test_training_step_that_is_skipped_leaves_module_and_optimizer(method):
    if method == "byol":
        pytest.importorskip("lightly")  # which moves a second network after each step
    pyro.enable_validation(False)  # as in training: with it, a NaN is an exception
    config = composed(
        f"method={method}", "trainer.on_nonfinite=skip", "encoder.width=8", "encoder.dim=4", "batch_size=8"
    )
    torch.manual_seed(0)
    module = build_method(config, channels=1, image_size=8)
    take_step = TrainingStep(Fabric(accelerator="cpu", devices=1), module, config, steps_per_epoch=4)
    views = torch.randn(2, 8, 1, 8, 8)
    for step in range(2):
        take_step(step, views)
        assert not take_step.finiteness.any_bad
    before = deepcopy((module.state_dict(), take_step.optimizer.state_dict()["state"]))
    broken = views.clone()
    broken[0, 3] = torch.nan
    take_step(2, broken)
    assert take_step.finiteness.any_bad
    torch.testing.assert_close(module.state_dict(), before[0], rtol=0, atol=0)
    torch.testing.assert_close(take_step.optimizer.state_dict()["state"], before[1], rtol=0, atol=0)
    take_step(3, views)
    assert not all(torch.equal(one, before[0][name]) for name, one in module.state_dict().items())
