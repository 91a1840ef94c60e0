"""The campaign: one process per stage, killed at its limit, and the results on disk after each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from vje_ppl.benchmark.campaign.limits import LIMITS
from vje_ppl.benchmark.campaign.notebook import read
from vje_ppl.benchmark.campaign.report import markdown, rows
from vje_ppl.benchmark.command import described
from vje_ppl.benchmark.options import SMOKE
from vje_ppl.errors import UserError
from vje_ppl.runs.files import write_atomically
from vje_ppl.terminal.table import format_table

#: Seconds that a stage has to end after SIGTERM.
_GRACE = 3.0

#: The last lines of a failed stage's output that are kept.
_LINES = 15


def campaign(config: DictConfig, stages: Sequence[str]) -> int:
    """Run the stages one after the other.

    Args:
        config: the composed configuration of `configs/benchmark.yaml`.
        stages: names, of `STAGES`.

    Returns:
        0 if every stage came to its end, else 1; missed targets do not matter.

    Raises:
        UserError: if there is no GPU, and the CPU was not asked for.
    """
    device = _device(config.device)
    output = Path(config.output)
    report: dict[str, Any] = {
        "device": device,
        "smoke": config.smoke,
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": " ".join(["python -m vje_ppl.benchmark", *sys.argv[1:]]),
        "machine": described(device),
        "stages": {},
    }
    print(f"{'tiny sizes, to try the stages' if config.smoke else 'full sizes'}, on {_device_name(device)}", flush=True)
    for stage in stages:
        limit = LIMITS[stage][config.smoke]
        print(f"{stage}, at most {limit} s", flush=True)
        report["stages"][stage] = run_stage(stage, limit, device, config.smoke, config.data.root, output)
        _write(output, report)
    print(format_table(rows(report)))
    print(f"written to {output} and {output.with_suffix('.md')}")
    return int(any(stage["status"] != "finished" for stage in report["stages"].values()))


def run_stage(
    stage: str, limit: float, device: str, smoke: bool, data_root: str | None, output: Path, module: str | None = None
) -> dict[str, Any]:
    """Run a stage in a process, and kill it with all its processes at the limit.

    Args:
        stage: its name.
        limit: seconds.
        device: `cuda` or `cpu`.
        smoke: whether to take tiny sizes.
        data_root: the folder with CIFAR-10, or None.
        output: the file of the campaign's results; pictures are put beside it.
        module: the module that runs stages, if it is not the package's own.

    Returns:
        Its `status` (finished, failed, or killed at its limit), `seconds`, `results` and, unless it finished, `output`.
    """
    with tempfile.TemporaryDirectory() as folder:
        results, log = Path(folder) / "results.json", Path(folder) / "log"
        options = {
            "device": device,
            "smoke": smoke,
            "data_root": data_root,
            "results": str(results),
            "folder": folder,
            "output": str(output.absolute()),
        }
        start = time.perf_counter()
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", module or "vje_ppl.benchmark.campaign", stage, json.dumps(options)],
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | ({"OMP_NUM_THREADS": "1"} if smoke and device == "cpu" else {}),
            )
            try:
                status = "failed" if process.wait(limit) else "finished"
            except subprocess.TimeoutExpired:
                status = f"killed at its limit of {limit:g} s"
            finally:
                _kill(process)
        found: dict[str, Any] = {"status": status, "seconds": time.perf_counter() - start, "results": read(results)}
        if status != "finished":
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LINES:]
            found["output"] = lines
            print("\n".join([f"  {status}", *(f"  | {line}" for line in lines)]), flush=True)
        return found


def _kill(process: subprocess.Popen) -> None:
    """End a stage and the processes that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)


def _device(name: str) -> str:
    if name == "cpu":
        return "cpu"
    if not torch.cuda.is_available():
        raise UserError(f"on=gpu needs a GPU, but torch finds none; type {SMOKE} to try its stages on the CPU")
    return "cuda"


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "a CPU"


def _write(output: Path, report: dict[str, Any]) -> None:
    write_atomically(output, (json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode())
    write_atomically(output.with_suffix(".md"), markdown(report).encode())
