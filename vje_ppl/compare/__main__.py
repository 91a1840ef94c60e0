"""python -m vje_ppl.compare: finished runs side by side."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, ListConfig

from vje_ppl.compare.measure import base_measure
from vje_ppl.compare.record import Record, mark_other_images, read_record
from vje_ppl.compare.rows import Row, rows_of
from vje_ppl.compare.selection import OUTPUT, common_folder, find_runs
from vje_ppl.compare.table import Table, make_table
from vje_ppl.errors import LAYOUT, UserError, printable
from vje_ppl.runs.files import explain, write_atomically
from vje_ppl.settings.identity import canonical_json
from vje_ppl.terminal.command import run_command

SEEDS = ("together", "separate")


def compare(config: DictConfig) -> None:
    """Print a table of finished runs, and write it as CSV, Markdown and a picture.

    Args:
        config: the composed configuration of `configs/compare.yaml`.

    Raises:
        UserError: if no finished run is selected, an option is not valid, or nothing can be written.
    """
    patterns = _patterns(config.runs)
    if config.seeds not in SEEDS:
        raise UserError(f"seeds expects {' or '.join(SEEDS)}, got {config.seeds}.")
    runs, foreign = find_runs(patterns)
    if not runs:
        raise UserError(f"runs expects run folders, or folders or globs that contain runs; {_why_none(patterns)}.")
    base = common_folder(runs)
    records, left_out = _read(runs, base)
    left_out += [f"{_name(folder, base)}: no run in it" for folder in foreign]
    if not records:
        print(printable(_left_out(left_out), LAYOUT))
        raise UserError(f"none of the {len(runs)} runs selected by runs={','.join(patterns)} can be compared.")

    rows, repeats = rows_of(records, aggregate=config.seeds == "together")
    measures, unknown = _base_measures(rows, config.trust_targets)
    table = make_table(rows, measures, str(config.sort), seed_column=config.seeds == "separate")
    counted = ", and does not count" if config.seeds == "together" else ""
    remarks = [*table.notes, *unknown]
    remarks += [f"{run.name} repeats {first.name}, configuration and seed{counted}." for run, first in repeats]
    out = _made(Path(config.out).expanduser() if config.out else base / OUTPUT)
    parts = [table.heading, table.plain(), "\n".join(remarks), _left_out(left_out)]
    print(printable("\n\n".join(filter(None, parts)), LAYOUT))
    _write(table, out, remarks, left_out)
    print(f"\n{out}: comparison.csv, comparison.md, comparison.png")


def _patterns(runs: object) -> list[str]:
    given = list(runs) if isinstance(runs, ListConfig) else [runs]
    patterns = [pattern for pattern in given if isinstance(pattern, str) and pattern]
    if not given or len(patterns) < len(given):
        raise UserError(f"runs expects a folder, a glob, or a list of these, got {runs}.")
    return patterns


def _why_none(patterns: Sequence[str]) -> str:
    missing = [pattern for pattern in patterns if not Path(pattern).expanduser().exists()]
    if not missing:
        return f"there are none in {', '.join(patterns)}"
    is_glob = any(set("*?[") & set(pattern) for pattern in missing)
    return f"{'nothing matches' if is_glob else 'nothing is at'} {', '.join(missing)}"


def _read(runs: Sequence[Path], base: Path) -> tuple[list[Record], list[str]]:
    records, left_out = [], []
    for path in runs:
        name = _name(path, base)
        try:
            records.append(read_record(path, name))
        except UserError as error:
            left_out.append(f"{name}: {error}")
    return mark_other_images(records), left_out


def _name(path: Path, base: Path) -> str:
    return os.path.relpath(path.absolute(), base)


def _base_measures(rows: Sequence[Row], trust_targets: bool) -> tuple[list[str | None], list[str]]:
    """Return the base measure of each row, None where it is not known; and the reasons why it is not."""
    known: dict[str, str | None] = {}
    measures: list[str | None] = []
    reasons = []
    for row in rows:
        likelihood = row.records[0].config.get("likelihood")
        if likelihood is None:  # a method without a density of embeddings
            measures.append(None)
            continue
        key = canonical_json(likelihood)
        if key not in known:
            try:
                known[key] = base_measure(likelihood, trust_targets)
            except UserError as error:
                known[key] = None
                reasons.append(f"No ELBO for {row.name}: {error}")
        measures.append(known[key])
    return measures, reasons


def _left_out(reasons: Sequence[str]) -> str:
    return "\n".join(["not compared:", *(f"  {reason}" for reason in reasons)]) if reasons else ""


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\n")
    except OSError as error:
        reason = explain(error).partition(";")[0]
        raise UserError(f"The folder {folder} cannot be written to: {reason}; give out=another folder.") from error
    return folder


def _write(table: Table, out: Path, remarks: Sequence[str], left_out: Sequence[str]) -> None:
    from vje_ppl.compare.picture import picture  # imported late: Matplotlib takes a second to import

    bullets = [*remarks, *(f"Not compared: {reason}" for reason in left_out)]
    listed = "\n".join(f"- {bullet}" for bullet in bullets)
    parts = [table.heading, table.markdown(), listed, "![k-NN accuracy of each run](comparison.png)"]
    write_atomically(out / "comparison.csv", table.csv())
    text = printable("\n\n".join(filter(None, parts)) + "\n", LAYOUT)
    write_atomically(out / "comparison.md", text.encode())
    write_atomically(out / "comparison.png", picture(table))


def main() -> None:
    """Entry point of `python -m vje_ppl.compare`."""
    run_command(compare, "compare")


if __name__ == "__main__":
    main()
