"""The benchmark measures like with like, and writes what it measured. Its targets are not tested: they are timings."""

from __future__ import annotations

import json

import pytest
import torch
from hydra import compose, initialize_config_module

from vje_ppl.benchmark import __main__ as command
from vje_ppl.benchmark.step import objective_pieces

OVERRIDES = ["encoder=small_resnet", "augment=cifar", "batch_size=8"]


@pytest.fixture
def config():
    with initialize_config_module("vje_ppl.configs", version_base="1.3"):
        yield compose("train", OVERRIDES)


def test_hand_fused_loss_is_the_pyro_objective(config):
    pieces = objective_pieces(config, images=12, dim=16, device=torch.device("cpu"))
    losses = []
    for name in ("pyro", "fused"):
        torch.manual_seed(0)  # the same noise: both draw it in one call of one shape
        losses.append(pieces[name]())
    # Sums of 16 features in float32, of terms of a few nats per dimension.
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-5)


def test_report_holds_results_targets_and_machine(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with initialize_config_module("vje_ppl.configs", version_base="1.3"):
        settings = compose("benchmark", ["only=[step]", "seconds=0.01", "batch_size=8"])
        assert command.benchmark(settings) == 0
    report = json.loads((tmp_path / "benchmark.json").read_text())
    ratios = {"objective_over_fused", "objective_overhead_of_step", "step_over_encoder"}
    assert ratios <= set(report["results"])
    assert all(value > 0 for name, value in report["results"].items() if name.endswith("_ms"))
    assert [row["target"] for row in report["targets"]] == ["<= 1.5", "<= 0.02", "<= 1.25"]
    assert report["machine"]["cores"] >= 1
    assert "over the bare encoder" in capsys.readouterr().out
