"""python -m vje_ppl.crosscheck: compare Pyro, NumPyro and a third oracle, and name the rows that fail."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from vje_ppl.runs.files import json_lines, write_atomically
from vje_ppl.settings.checks import as_list, check_table, list_of, one_of, whole
from vje_ppl.terminal.command import run_command
from vje_ppl.terminal.table import format_table
from vje_ppl.terminal.versions import versions

FAILED = 1
OPTIONS = {
    "precision": list_of("float64, float32 or both", one_of("float64", "float32")),
    "widths": list_of("whole numbers of at least 2", whole(2)),
    "images": whole(2),
}


def crosscheck(config: DictConfig) -> int:
    """Check the densities on synthetic cases and their integrals, or a trained run on its own images.

    Returns:
        0 if every row passes, 1 if one fails.

    Raises:
        UserError: for an invalid option, a missing run, or a part of the run without a NumPyro twin.
    """
    check_table(config, OPTIONS)
    _configure_jax(config.jax_device)
    import torch  # the options are checked before, because it takes seconds to import

    torch.set_num_threads(1)  # arrays are small, and the other cores compile
    start = time.perf_counter()
    report = _trained(config) if config.run else _synthetic(config)
    output = Path(config.output or Path(config.run or ".") / "crosscheck.json")
    seconds = time.perf_counter() - start
    report |= {
        "passed": all(row["passed"] for rows in report.values() for row in rows),
        "seconds": seconds,
        "versions": versions("jax", "numpyro", "scipy", "mpmath", "numpy", "python"),
    }
    write_atomically(output, json_lines(report))
    print(f"\n{'every row passes' if report['passed'] else 'FAILED'} after {seconds:.0f} s; written to {output}")
    return 0 if report["passed"] else FAILED


def _synthetic(config: DictConfig) -> dict[str, Any]:
    from vje_ppl.crosscheck import certificate, normalization  # JAX is configured first

    precisions, widths = as_list(config.precision), as_list(config.widths)
    batches = certificate.batches(precisions, widths, config.seed, config.device, config.jax_device)
    checks = certificate.certify(batches, _progress)
    _print_checks(checks)
    integrals = normalization.study()
    rows = [integral.as_dict() for integral in integrals]
    print(f"\nintegrals of the densities\n{format_table([integral.row() for integral in integrals])}")
    if config.picture:
        from vje_ppl.crosscheck import normalization_picture  # imported late: Matplotlib takes a second to import

        normalization_picture.draw(Path(config.picture))
        print(f"picture written to {config.picture}")
    return {"checks": [check.as_dict() for check in checks], "normalization": rows}


def _trained(config: DictConfig) -> dict[str, Any]:
    from vje_ppl.crosscheck import trained

    checks = trained.certify(
        Path(config.run), config.images, as_list(config.precision), config.seed, config.device, config.jax_device
    )
    _print_checks(checks)
    return {"checks": [check.as_dict() for check in checks]}


def _print_checks(checks: Sequence[Any]) -> None:
    """Print a row per quantity, with both precisions, and a line for each failure."""
    rows: dict[str, dict[str, Any]] = {}
    for check in checks:
        row = rows.setdefault(check.quantity, {"quantity": check.quantity})
        row |= {"oracle": ", ".join(check.oracles) or "-", "cases": check.cases}
        short = check.precision.replace("float", "f")
        row |= {
            f"{short} absolute": check.absolute,
            f"{short} relative": check.relative,
            f"{short} tolerance": check.tolerance,
        }
        row["result"] = row.get("result") or ("" if check.passed else f"FAIL: {check.suspect}")
    ordered = [
        {**{k: v for k, v in row.items() if k != "result"}, "result": row["result"] or "pass"} for row in rows.values()
    ]
    print(format_table(ordered))
    for check in checks:
        if not check.passed:
            where = ", ".join(f"{name} = {value}" for name, value in check.worst.items())
            print(f"FAIL {check.quantity} in {check.precision}: {check.suspect} disagrees; worst at {where}")


def _configure_jax(device: str) -> None:
    """Set JAX's platforms before it starts, and keep it from reserving GPU memory."""
    os.environ["JAX_PLATFORMS"] = device if device == "cpu" else f"{device},cpu"
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


def main() -> None:
    """Entry point of `python -m vje_ppl.crosscheck`."""
    run_command(crosscheck, "crosscheck")


if __name__ == "__main__":
    main()
