"""A step taken in parts is the step on the whole batch, in any number of processes, and needs less memory."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any
from unittest import mock

import pyro
import pytest
import torch
from torch import Tensor
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from tests.helpers.baselines import CHANNELS, ENCODER, IMAGE_SIZE, NARROW
from tests.helpers.cases import composed
from vje_ppl.errors import UserError
from vje_ppl.parallel.fabric import Fabric
from vje_ppl.settings.build import build_method
from vje_ppl.train.accumulation import check_accumulation, parts_of
from vje_ppl.train.monitor import Monitor
from vje_ppl.train.step import TrainingStep

IMAGES, STEP = 8, 3
PLAIN = ("norm=group", f"batch_size={IMAGES}", "optimizer=sgd", "optimizer.momentum=0", "trainer.warmup=0")
VJE = (*ENCODER, "guide.network.width=2")
CASES = {
    "vje": VJE,
    "vje-three_views_and_particles": (*VJE, "trainer.views=3", "objective.num_particles=3"),
    "vje-vamp_and_flow": (*VJE, "prior=vamp", "guide=flow"),
    "vje-low_rank_and_clipping": (*VJE, "guide=low_rank_normal", "trainer.clip=1e-3"),
    **{name: (*ENCODER, f"method={name}", *NARROW[name]) for name in ("simsiam", "byol", "vi_simsiam")},
}


def step_and_module(fabric: Fabric, case: str, accumulate: int) -> tuple[TrainingStep, Any, Any]:
    """A training step at a learning rate of 1 without momentum, so that weights move by the gradient; in float64."""
    config = composed(*PLAIN, *CASES[case], f"trainer.accumulate={accumulate}", "optimizer.lr=1", "trainer.epochs=1")
    torch.manual_seed(0)
    module = build_method(config, CHANNELS, IMAGE_SIZE).double()
    return TrainingStep(fabric, module, config, steps_per_epoch=10), module, config


def views(config: Any) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    shape = (IMAGES, CHANNELS, IMAGE_SIZE, IMAGE_SIZE)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(config.trainer.views)]


def taken(case: str, accumulate: int) -> dict[str, Any]:
    """What one step leaves: the terms, an epoch's means, and every weight."""
    fabric = Fabric(accelerator="cpu", devices=1, precision="64-true")
    take_step, module, config = step_and_module(fabric, case, accumulate)
    monitor, before = Monitor(module), {name: value.clone() for name, value in module.state_dict().items()}
    terms = take_step(STEP, views(config))
    monitor.update(STEP, terms)
    return {
        "before": before,
        "loss": terms.loss.detach(),
        "embeddings": terms.embeddings,
        "means": torch.tensor(list(monitor.means().values())),
        "names": list(monitor.means()),
        **{f"weight {name}": value.clone() for name, value in module.state_dict().items()},
    }


@pytest.mark.parametrize("case", CASES)
def test_step_in_parts_is_the_step_on_the_whole_batch(case):
    whole, parts = taken(case, 1), taken(case, 4)
    assert whole.pop("names") == parts.pop("names")
    assert whole.keys() == parts.keys()
    before = whole.pop("before")
    assert all(torch.equal(before[name], value) for name, value in parts.pop("before").items())
    assert any(not torch.equal(value, parts[f"weight {name}"]) for name, value in before.items())
    for name, expected in whole.items():
        # Sums in another order: some units in the last place of the largest number, in float64 for weights; Fabric
        # hands terms back in float32.
        unit = 1e-14 if name.startswith("weight") else 1e-7
        tolerance = 100 * unit * max(1.0, expected.abs().max().item())
        torch.testing.assert_close(
            parts[name], expected, rtol=0, atol=tolerance, msg=f"{case}: {name}", check_dtype=False
        )


def test_number_that_is_not_finite_is_found_in_whichever_part_it_is():
    pyro.enable_validation(False)  # as in training
    fabric = Fabric(accelerator="cpu", devices=1, precision="64-true")
    take_step, module, config = step_and_module(fabric, "vje", 4)
    monitor, batch = Monitor(module), views(config)
    batch[1][IMAGES // 2] = torch.nan
    monitor.update(STEP, take_step(STEP, batch))
    assert monitor.failure_reason() == f"the objective became non-finite in step {STEP}, first at the embedding"


def saved_for_backward(accumulate: int) -> tuple[int, int]:
    """The most bytes that one step keeps for its backward pass at any moment, and the bytes of all weights."""
    held = {"now": 0, "most": 0}

    class Kept:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor
            held["now"] += tensor.nbytes
            held["most"] = max(held["most"], held["now"])

        def __del__(self) -> None:
            held["now"] -= self.tensor.nbytes

    options = ("encoder=small_resnet", "encoder.width=4", "guide.network.width=1", "batch_size=32", "norm=group")
    config = composed(*options, f"trainer.accumulate={accumulate}")
    module = build_method(config, 3, 32)
    take_step = TrainingStep(Fabric(accelerator="cpu", devices=1), module, config, 10)
    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        take_step(0, torch.randn(2, 32, 3, 32, 32))
    assert held["now"] == 0
    return held["most"], sum(parameter.nbytes for parameter in module.parameters())


def test_activations_of_one_part_are_in_memory_at_a_time():
    (at_once, weights), (in_parts, _) = saved_for_backward(1), saved_for_backward(8)
    assert at_once > 50 * weights
    assert in_parts < at_once / 8 + 2 * weights  # which each view saves too, whatever the size of a part


def work(rank: int, port: int, folder: Path) -> None:
    """One process of two, started as torchrun does: a step in two parts, and the number of gradient exchanges."""
    torch.set_num_threads(1)
    place = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
    with mock.patch.dict(os.environ, {name: str(value) for name, value in place.items()}):
        fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp", precision="64-true")
        fabric.launch()
        for accumulate in (1, 2):
            take_step, module, config = step_and_module(fabric, "vje", accumulate)
            exchanges: list[int] = []

            def counted(state, bucket, exchanges=exchanges):  # torch refuses annotations that are text
                exchanges.append(bucket.index())
                return allreduce_hook(state, bucket)

            take_step._module._forward_module.register_comm_hook(None, counted)
            take_step(STEP, [view.chunk(2)[rank] for view in views(config)])
            if rank == 0:
                torch.save({"weights": module.state_dict(), "exchanges": len(exchanges)}, folder / f"{accumulate}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_in_two_parts_take_the_step_of_one_and_exchange_gradients_once(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(work, (port, tmp_path), nprocs=2)
    at_once, in_parts = (torch.load(tmp_path / f"{count}.pt", weights_only=True) for count in (1, 2))
    assert in_parts["exchanges"] == at_once["exchanges"] == 1
    alone = taken("vje", 1)
    for name, weight in in_parts["weights"].items():
        torch.testing.assert_close(weight, alone[f"weight {name}"], rtol=1e-10, atol=1e-12, msg=name)


def test_parts_are_all_rows_in_order():
    batch = [torch.arange(6.0).view(6, 1, 1, 1), torch.arange(6.0, 12.0).view(6, 1, 1, 1)]
    parts = list(parts_of(batch, 3))
    assert [row for row, _ in parts] == [0, 2, 4]
    for number, view in enumerate(batch):
        assert torch.equal(torch.cat([part[number] for _, part in parts]), view)


@pytest.mark.parametrize("method", ["vicreg", "barlow_twins"])
def test_method_that_compares_images_is_refused(method):
    module = build_method(composed(*ENCODER, f"method={method}", *NARROW[method]), CHANNELS, IMAGE_SIZE)
    check_accumulation(1, IMAGES, 1, module)
    with pytest.raises(UserError, match=r"compares the images of a batch .*; use trainer.accumulate=1"):
        check_accumulation(2, IMAGES, 1, module)


def test_batch_that_does_not_divide_is_refused():
    module = build_method(composed(*VJE), CHANNELS, IMAGE_SIZE)
    check_accumulation(2, 12, 2, module)
    with pytest.raises(UserError, match=r"batch_size=12 .* 2 process.* trainer.accumulate=4 .*multiple of 8; .*=8\.$"):
        check_accumulation(4, 12, 2, module)
