"""Two processes compute the loss and the gradient of one, for VJE and for every baseline."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from tests.helpers import cases
from tests.helpers.baselines import CHANNELS, METHODS, NARROW, built, views
from tests.helpers.together import PROCESSES, together
from vje_ppl.program.noise import KeyedNoise
from vje_ppl.settings.build import build_method

IMAGES, SIDE = 8, 4

#: VJE with a closed-form KL, and with draws in its place.
VJE = {
    "vje": (),
    "vje flow mixture": ("guide=flow", "prior=mixture", "objective.num_particles=2"),
    "vje low-rank vamp": ("guide=low_rank_normal", "guide.rank=2", "prior=vamp", "likelihood.learn_df=true"),
}

#: With the encoder of the benchmark.
SMALL_RESNET = ("norm=group", "encoder=small_resnet", "encoder.width=2")
RESNET = {
    "vje small_resnet": ("guide.network.width=2", *SMALL_RESNET),
    "simsiam small_resnet": ("method=simsiam", *NARROW["simsiam"], *SMALL_RESNET),
}
CASES = (*VJE, *METHODS, *RESNET)


def module_of(case: str, seed: int) -> nn.Module:
    """A method with groups for normalization, in training mode."""
    if case in METHODS:
        return built(case, "norm=group", seed=seed)
    torch.manual_seed(seed)
    config = cases.configured("norm=group", *VJE[case], dim=7) if case in VJE else cases.composed(*RESNET[case])
    return build_method(config, CHANNELS, SIDE, trust_targets=False)


def measured(module: nn.Module, batch: list[Tensor], first: int) -> dict[str, Tensor]:
    """Loss, terms and gradients by name, after one backward pass over rows of the global batch from `first` on."""
    with KeyedNoise(0, 5, (first, first + len(batch[0])), IMAGES):
        terms = module(*batch)
    terms.loss.backward()
    found = {name: value.detach() for name, value in {"loss": terms.loss, **terms.scalars()}.items()}
    return found | {name: one.grad for name, one in module.named_parameters() if one.requires_grad}


def shared(rank: int) -> dict[str, dict[str, Tensor]]:
    """What two processes make of their rows of every batch, all cases one after the other."""
    results = {}
    for case in CASES:
        module = DistributedDataParallel(module_of(case, seed=rank))  # rank 0's parameters are everyone's
        rows = [view.chunk(PROCESSES)[rank] for view in views(images=IMAGES)]
        found = measured(module, rows, rank * IMAGES // PROCESSES)
        for value in found.values():
            distributed.all_reduce(value)
        results[case] = {name.removeprefix("module."): value / PROCESSES for name, value in found.items()}
    return results


@pytest.fixture(scope="module")
def results():
    return together(shared)


@pytest.mark.parametrize("case", CASES)
def test_two_processes_have_the_loss_and_gradient_of_one(results, case):
    alone = measured(module_of(case, seed=0), views(images=IMAGES), 0)
    for found in results:
        assert found[case].keys() == alone.keys()
        for name, expected in alone.items():
            # Sums over eight images in another order: some units in the last place of the largest number.
            tolerance = 1e-5 * max(1.0, expected.abs().max().item())
            torch.testing.assert_close(found[case][name], expected, rtol=1e-4, atol=tolerance, msg=f"{case} {name}")
