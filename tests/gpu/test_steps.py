"""Training steps on the device: every method and part, nothing waits, what is not finite, and a compiled encoder."""

from __future__ import annotations

import shutil
from contextlib import nullcontext

import jaxtyping
import pytest
import torch

from tests.helpers.cases import CHANNELS, GUIDES, IMAGE_SIZE, LIKELIHOODS, PRIORS, SMALL, composed, configured
from vje_ppl.parallel.fabric import Fabric
from vje_ppl.settings.build import build_method
from vje_ppl.train.monitor import Monitor
from vje_ppl.train.step import TrainingStep, prepare

pytestmark = pytest.mark.usefixtures("validation_off")

PARTS = [
    *[pytest.param({"prior": case}, id=f"prior-{case}") for case in PRIORS],
    *[pytest.param({"likelihood": case}, id=f"likelihood-{case}") for case in LIKELIHOODS],
    *[pytest.param({"guide": case}, id=f"guide-{case}") for case in GUIDES],
]


def _training(config, device, precision="32-true", channels_last=False):
    torch.manual_seed(0)
    module = build_method(config, CHANNELS, IMAGE_SIZE)
    fabric = Fabric(accelerator=device.type, devices=1, precision=precision)
    module = prepare(fabric, module, config.trainer, channels_last)
    return TrainingStep(fabric, module, config, steps_per_epoch=8), Monitor(
        module, config.trainer.on_nonfinite == "skip"
    )


def _views(device, images=8):
    generator = torch.Generator().manual_seed(3)
    views = torch.randn(2, images, CHANNELS, IMAGE_SIZE, IMAGE_SIZE, generator=generator)
    return views.to(device)


@pytest.mark.parametrize("parts", PARTS)
def test_a_step_with_every_part_is_finite_and_waits_for_nothing(device, nothing_waits, parts):
    config = configured("batch_size=8", **parts, dim=6)
    take_step, monitor = _training(config, device, "bf16-mixed")
    views = _views(device)
    for step in range(2):  # the first ones set up what is kept
        monitor.update(step, take_step(step, views), take_step.finiteness)
    with nothing_waits():
        for step in range(2, 4):
            monitor.update(step, take_step(step, views), take_step.finiteness)
    assert not take_step.finiteness.any_bad
    assert all(parameter.device.type == device.type for parameter in take_step._parameters)


@pytest.mark.parametrize(
    "method", ["simsiam", "vicreg", "barlow_twins", "byol", "vi_simsiam", "simclr", "lejepa", "visreg"]
)
def test_a_step_of_every_baseline_is_finite_and_only_lightly_waits(device, nothing_waits, method):
    pytest.importorskip("lightly")
    from tests.helpers.baselines import LOSS_WAITS, NARROW

    config = composed(f"method={method}", *NARROW[method], *SMALL, "encoder.dim=7", "batch_size=8")
    take_step, monitor = _training(config, device)
    views = _views(device)
    for step in range(2):
        monitor.update(step, take_step(step, views), take_step.finiteness)
    assert not take_step.finiteness.any_bad
    said = "makes the CPU wait|synchronizing CUDA operation"
    waits = pytest.raises((AssertionError, RuntimeError), match=said) if method in LOSS_WAITS else nullcontext()
    with waits, nothing_waits():
        monitor.update(2, take_step(2, views), take_step.finiteness)


@pytest.mark.parametrize("guide", GUIDES, ids=str)
def test_a_step_that_is_not_finite_is_skipped(device, guide):
    config = configured("batch_size=8", "trainer.on_nonfinite=skip", guide=guide, dim=6)
    take_step, _ = _training(config, device)
    views = _views(device)
    take_step(0, views)
    before = [parameter.clone() for parameter in take_step._parameters]
    broken = views.clone()
    broken[0, 3] = torch.nan
    take_step(1, broken)
    assert take_step.finiteness.any_bad
    assert all(map(torch.equal, take_step._parameters, before))


@pytest.mark.parametrize("guide", GUIDES, ids=str)
def test_a_step_that_is_not_finite_is_found_at_the_next_check(device, guide):
    config = configured("batch_size=8", guide=guide, dim=6)
    take_step, monitor = _training(config, device)
    broken = _views(device)
    broken[0, 3] = torch.nan
    monitor.update(0, take_step(0, broken), take_step.finiteness)
    assert "non-finite in step 0, first at the embedding" in monitor.failure_reason()


def test_a_compiled_encoder_has_the_same_loss(device, monkeypatch):
    if shutil.which("gcc") is None and shutil.which("cc") is None:
        pytest.skip("torch.compile needs a C++ compiler, and there is none")
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the checks do not survive compilation
    losses = []
    for compiled in ("false", "true"):
        config = configured("batch_size=8", f"trainer.compile={compiled}", dim=6)
        take_step, _ = _training(config, device)
        losses.append([take_step(step, _views(device)).loss.item() for step in range(2)])
    # Fused layers round in another order, some dozens of times; the second loss follows an update.
    assert losses[0] == pytest.approx(losses[1], rel=1e-4, abs=1e-4)
