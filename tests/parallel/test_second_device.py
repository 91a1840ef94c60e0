"""What a GPU would refuse or wait for, on a second device that computes on the CPU."""

from __future__ import annotations

import subprocess
import sys

import pytest
from torch.utils import backend_registration

from tests.documentation.blocks import ROOT
from tests.helpers.baselines import LOSS_WAITS
from tests.helpers.commands import environment

pytestmark = pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this release of torch cannot register a device from Python",
)


def _on_second_device(what, folder):
    result = subprocess.run(
        [sys.executable, "-m", "tests.helpers.on_second_device", what],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment() | {"PYTHONPATH": str(ROOT)},
        timeout=200,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.splitlines()


def test_the_second_device_refuses_and_waits_as_a_gpu_does(tmp_path):
    said = _on_second_device("refusals", tmp_path)
    refused = "got tensors on second and on the CPU"
    beginnings = [f"sum: aten.add.Tensor {refused}", f"put: aten.index_put_.default {refused}"]
    beginnings += ["number waits", "mask waits", "copy waits"]
    assert len(said) == len(beginnings)
    assert all(line.startswith(beginning) for line, beginning in zip(said, beginnings, strict=True))


def test_a_step_with_every_part_stays_on_the_device_and_waits_for_nothing(tmp_path):
    pytest.importorskip("lightly")
    said = _on_second_device("steps", tmp_path)
    assert {line.split(" waits: ")[0] for line in said} == LOSS_WAITS, said


def test_commands_run_on_the_device(tmp_path):
    said = _on_second_device("commands", tmp_path)
    assert sum("; second" in line or "× second" in line for line in said) == 4
    assert sum(line.startswith(("runs/run: ", "runs/class: ")) for line in said) == 4, "a command did not end well"
