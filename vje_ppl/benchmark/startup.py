"""The processor time until a command prints its help or takes its first training step, beside importing torch."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import torch

from vje_ppl.errors import UserError

ROUNDS = 3

#: Importing torch, and what torch needs by itself for a step: the first optimizer imports its compiler. As `FirstStep`
#: does, both end without freeing their modules, which takes up to a second.
_TORCH = "import os, torch; os._exit(0)"
_TORCH_STEP = "import os, torch; torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))]).step(); os._exit(0)"


class FirstStep(torch.optim.AdamW):
    """An optimizer that ends the process after its first step."""

    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Take the step."""
        super().step(closure)
        os._exit(0)


def measure() -> dict[str, float]:
    """Return ratios of medians, and those medians in seconds, user and system time together."""
    with tempfile.TemporaryDirectory() as folder:
        step = f"optimizer._target_={FirstStep.__module__}.{FirstStep.__qualname__}"
        commands = {
            "torch": ["-c", _TORCH],
            "torch_step": ["-c", _TORCH_STEP],
            "train_help": ["-m", "vje_ppl.train", "--help"],
            "compare_help": ["-m", "vje_ppl.compare", "--help"],
            "first_step": ["-m", "vje_ppl.train", step, "trainer.device=cpu", "resume=never", f"run.root={folder}"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(ROUNDS):
            for name, arguments in commands.items():
                times[name].append(_processor_time(arguments))
    seconds = {name: statistics.median(values) for name, values in times.items()}
    return {
        "train_help_over_torch": seconds["train_help"] / seconds["torch"],
        "compare_help_over_torch": seconds["compare_help"] / seconds["torch"],
        "first_step_over_torch": seconds["first_step"] / seconds["torch"],
        "first_step_over_torch_step": seconds["first_step"] / seconds["torch_step"],
        **{f"{name}_s": value for name, value in seconds.items()},
    }


def _processor_time(arguments: list[str]) -> float:
    """Run Python with one thread, and return its user and system time in seconds."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise UserError(f"The command to time failed: {errors.read().decode(errors='replace')[-500:]}")
    return usage.ru_utime + usage.ru_stime
