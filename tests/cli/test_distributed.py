"""Two processes train what one would."""

from __future__ import annotations

import subprocess
import sys

import torch

from tests.cli.conftest import SMALL, environment
from tests.cli.test_train import final_state

TOGETHER = (*SMALL, "norm=group", "trainer.device=cpu", "knn.every=1")


def test_two_gloo_processes_end_with_the_weights_of_one(train, tmp_path):
    command = [sys.executable, "-m", "vje_ppl.train", *TOGETHER, "trainer.devices=2", "run.name=two"]
    result = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("run     runs/two") == 1  # only the first process prints
    assert train(*TOGETHER, "run.name=one", small=False).returncode == 0
    one, two = (final_state(tmp_path / "runs" / name) for name in ("one", "two"))
    assert one["epoch"] == two["epoch"]
    # Gradients are summed in another order, over eight steps of at most the learning rate, 1e-3, each.
    for name, weight in one["module"].items():
        torch.testing.assert_close(two["module"][name], weight, rtol=1e-4, atol=1e-5, msg=name)
    for left, right in zip(one["history"][1:], two["history"][1:], strict=True):
        for name in ("loss", "elbo", "kl", "log_likelihood/direction", "log_likelihood/radius"):
            assert abs(left[name] - right[name]) <= 1e-4 * (1 + abs(left[name])), name
