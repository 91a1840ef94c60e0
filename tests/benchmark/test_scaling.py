"""The scaling of a step, and the memory of k-NN over a bank in main memory."""

from __future__ import annotations

import pytest
import torch
from hydra import compose, initialize_config_module

from vje_ppl.benchmark import scaling
from vje_ppl.benchmark.campaign.launches import launches
from vje_ppl.benchmark.campaign.shares import recorded, shares

CPU = torch.device("cpu")


@pytest.fixture
def config():
    with initialize_config_module("vje_ppl.configs", version_base="1.3"):
        yield compose("train", ["encoder=small_resnet", "augment=cifar"])


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_exponent_is_that_of_a_power(power):
    sizes = [64, 128, 512]
    assert scaling.exponent(sizes, [3 * size**power for size in sizes]) == pytest.approx(power)


def test_times_exponents_and_a_picture(tmp_path, config, monkeypatch):
    monkeypatch.setattr(scaling, "BANKS", (500, 1000))
    monkeypatch.setattr(scaling, "WIDTH", 32)
    monkeypatch.setattr(scaling, "BASE", {"batch": 8, "features": 8, "views": 2, "particles": 1})
    grid = {"batch": (8, 16), "views": (2, 3), "particles": (1, 2)}
    found = scaling.measure(config, CPU, 0.01, str(tmp_path / "benchmark.json"), grid)
    assert {name for name in found if "exponent" in name} == {f"scaling_exponent_{size}" for size in grid}
    assert (tmp_path / "benchmark.png").stat().st_size > 1000
    assert [row["bank"] for row in found["scaling_knn"]] == [500, 1000]


def test_memory_of_knn_does_not_grow_with_the_bank():
    rows = scaling.knn_times([40_000], 64, 512, CPU)
    assert scaling.is_bounded(rows)


def test_operations_are_counted_without_views_and_again_in_the_backward_pass():
    x = torch.ones(3, requires_grad=True)
    assert launches(lambda: (x.detach().view(3, 1) * 2).sum()) == 2
    # Forward: a product and a sum; backward: a tensor of ones, and a product. What expands is a view.
    assert launches(lambda: torch.autograd.grad((x * 2).sum(), x)) == 4


def test_a_part_of_a_step_has_the_time_of_its_gradient_too():
    torch.manual_seed(0)
    large, small = torch.nn.Linear(1500, 1500), torch.nn.Linear(1500, 2)
    views = torch.randn(256, 1500)

    def step():
        small(large(views)).sum().backward()

    with recorded(large, "large"), recorded(small, "small"):
        found = shares(step, CPU, repeats=2)
    assert sum(found.values()) == pytest.approx(1)
    assert found["large"] > 0.6  # of 750 times as many multiplications, on a machine that may be busy
