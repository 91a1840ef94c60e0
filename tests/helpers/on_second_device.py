"""Training steps of all parts, and whole commands, on a second device; prints what it refused or waited for.

python -m tests.helpers.on_second_device steps
python -m tests.helpers.on_second_device commands    # in an empty folder
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch

from tests.helpers import second_device
from tests.helpers.baselines import NARROW
from tests.helpers.cases import CHANNELS, GUIDES, IMAGE_SIZE, LIKELIHOODS, PRIORS, SMALL, composed, configured

#: The optimizer's fused kernels are for torch's own devices.
UNFUSED = "optimizer.fused=false"

COMMANDS = [
    "train run.name=run trainer.epochs=2 data.subset=256 batch_size=64 encoder.width=16 encoder.dim=8 knn.every=1 "
    f"guide.whiten=4 calibration=0.1 {UNFUSED}",
    "evaluate run=runs/run eval=[knn,whitened_knn,linear,uncertainty] linear.epochs=2 images.test=200",
    "train run.name=class data.only_class=3 trainer.epochs=1 batch_size=50 encoder=small_resnet encoder.width=2 "
    f"knn.every=0 calibration=0.2 {UNFUSED}",
    "evaluate run=runs/class eval=[one_class] images.test=60 scores.samples=2 scores.pairs=1",
]


@contextmanager
def _reported(what: str) -> Iterator[None]:
    second_device.waits.clear()
    try:
        yield
    except Exception as error:
        print(f"{what}: {error}")
    for place in second_device.waits:
        print(f"{what} waits: {place}")


def steps() -> None:
    """Take steps with each part and each method, and print where they wait from the third on."""
    from vje_ppl.parallel.devices import start
    from vje_ppl.settings.build import build_method
    from vje_ppl.train.monitor import Monitor
    from vje_ppl.train.step import TrainingStep

    pyro.enable_validation(False)  # as in training: to validate, the CPU reads numbers from the device
    cases: list[tuple[str, Any]] = [
        (f"{kind} {case}", configured("batch_size=8", UNFUSED, **{kind: case}, dim=6))
        for kind, cases in (("prior", PRIORS), ("likelihood", LIKELIHOODS), ("guide", GUIDES))
        for case in cases
    ]
    for method, narrow in NARROW.items():
        options = (f"method={method}", *narrow, *SMALL, "encoder.dim=7", "batch_size=8", UNFUSED)
        cases.append((method, composed(*options)))
    fabric = start()
    views = torch.randn(2, 8, CHANNELS, IMAGE_SIZE, IMAGE_SIZE).to(second_device.NAME)
    for name, config in cases:
        module = build_method(config, CHANNELS, IMAGE_SIZE)
        take_step, monitor = TrainingStep(fabric, module, config, steps_per_epoch=8), Monitor(module)
        with _reported(name):
            for step in range(4):
                if step == 2:  # the first ones set up what is kept
                    second_device.waits.clear()
                monitor.update(step, take_step(step, views), take_step.finiteness)
        assert monitor.failure_reason() is None, name


def commands() -> None:
    """Run whole commands, which may wait."""
    for command in COMMANDS:
        name, *options = command.split()
        entry = importlib.import_module(f"vje_ppl.{name}.__main__")
        sys.argv = [name, *options]
        try:
            entry.main()
        except SystemExit as left:
            if left.code:
                raise


def refusals() -> None:
    """Do what a GPU refuses or waits for."""
    there = torch.ones(3).to(second_device.NAME)
    with _reported("sum"):
        there + torch.ones(3)
    with _reported("put"):
        there[torch.tensor([0, 2])] = torch.ones(2)
    with _reported("number"):
        there.sum().item()
    with _reported("mask"):
        there[there > 0]
    with _reported("copy"):
        there.cpu()


if __name__ == "__main__":
    with second_device.second_device():
        {"steps": steps, "commands": commands, "refusals": refusals}[sys.argv[1]]()
