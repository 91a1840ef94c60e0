"""k-NN and the linear probe on the device give what they give on the CPU."""

from __future__ import annotations

import pytest
import torch

from vje_ppl.measures.knn import accuracy, knn_ranks
from vje_ppl.measures.linear_probe import LinearRecipe, linear_probe

CLASSES, WIDTH = 5, 12


def _clusters(count, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    centres = torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(9))
    return centres[labels] + torch.randn(count, WIDTH, generator=generator), labels


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["float32", "float16"])
def test_knn_with_a_bank_in_main_memory_is_that_of_the_cpu(device, dtype):
    bank, queries = _clusters(400, 0), _clusters(100, 1)
    found = [
        knn_ranks(
            *(bank[0].to(dtype), bank[1], queries[0].to(dtype), queries[1]),
            **{"k": 10, "temperature": 0.1, "num_classes": CLASSES, "chunk": 64, "device": where},
        )[1]
        for where in (torch.device("cpu"), device)
    ]
    assert (found[0] == found[1]).double().mean() >= 0.98  # votes that are equal up to rounding may change a rank
    assert accuracy(found[1]) > 0.5


def test_linear_probe_is_that_of_the_cpu(device):
    bank, test = _clusters(400, 0), _clusters(200, 1)
    recipe = LinearRecipe(learning_rates=(0.03, 0.1), epochs=3)
    found = [
        linear_probe(*bank, *test, num_classes=CLASSES, recipe=recipe, device=where).top1
        for where in (torch.device("cpu"), device)
    ]
    assert found[0] == pytest.approx(found[1], abs=0.02)  # four of 200 images near a boundary
    assert found[1] > 0.6
