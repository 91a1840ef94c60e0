"""The kinds of evaluation of a trained run, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vje_ppl.evaluate.knn import evaluate_knn, evaluate_whitened_knn
from vje_ppl.evaluate.linear import evaluate_linear
from vje_ppl.evaluate.one_class import evaluate_one_class
from vje_ppl.evaluate.ood import evaluate_ood
from vje_ppl.evaluate.options import DEPENDS
from vje_ppl.evaluate.outcome import REPORT, Outcome, read_report, write_report
from vje_ppl.evaluate.pictures import ACCURACIES, accuracy_figure
from vje_ppl.evaluate.uncertainty import evaluate_uncertainty
from vje_ppl.features.opened_run import OpenedRun, open_run
from vje_ppl.features.shards import Shards
from vje_ppl.parallel.devices import chosen_device, start
from vje_ppl.pictures.style import save
from vje_ppl.program.parameter_store import local_parameters
from vje_ppl.runs.files import write_atomically
from vje_ppl.settings.checks import as_list
from vje_ppl.settings.groups import method_name
from vje_ppl.terminal.results import EvaluationResults, Table
from vje_ppl.terminal.table import format_table, markdown_table
from vje_ppl.terminal.versions import versions

KINDS: dict[str, Callable[[OpenedRun], Outcome]] = {
    "knn": evaluate_knn,
    "whitened_knn": evaluate_whitened_knn,
    "linear": evaluate_linear,
    "one_class": evaluate_one_class,
    "ood": evaluate_ood,
    "uncertainty": evaluate_uncertainty,
}


def evaluate(config: DictConfig) -> EvaluationResults:
    """Run one evaluation after the other; each writes its result before the next starts.

    Args:
        config: the composed configuration of `configs/evaluate.yaml`, checked by `check_options`.

    Returns:
        The results; in processes other than the first, empty tables.

    Raises:
        UserError: for a missing run, or data that an evaluation cannot use.
    """
    fabric = start(chosen_device(config.device).type, config.devices)
    with local_parameters(validate=config.debug):
        shards = Shards(fabric.global_rank, fabric.world_size)
        evaluated = open_run(config, fabric.device, shards)
        read_report(evaluated.folder)  # refuse a damaged report before the work
        if shards.is_first:
            print(_headline(evaluated), flush=True)
        done = {kind: _evaluate(evaluated, kind) for kind in as_list(config.eval)}
    files = list(dict.fromkeys(name for _, names in done.values() for name in names))
    if shards.is_first:
        print(f"\n{evaluated.folder}: {', '.join([REPORT, *files])}")
    pictures = [evaluated.folder / name for name in files if name.endswith(".png")]
    return EvaluationResults(evaluated.folder, {kind: table for kind, (table, _) in done.items()}, pictures)


def _evaluate(evaluated: OpenedRun, kind: str) -> tuple[Table, list[str]]:
    """Run one kind of evaluation, write, draw and print it; return its table, and the names of files."""
    start = time.perf_counter()
    outcome = KINDS[kind](evaluated)
    if not evaluated.shards.is_first:
        return Table([]), []
    changes = [] if evaluated.changes is None else [evaluated.changes]
    result = {
        "epoch": evaluated.run.epoch,
        "epochs": evaluated.run.config.trainer.epochs,
        "options": {key: _plain(evaluated.options[key]) for key in DEPENDS[kind]},
        "device": evaluated.device.type,
        "seconds": time.perf_counter() - start,
        "versions": versions("scikit-learn", "numpy", "python"),
        "notes": [*outcome.notes, *changes],
        **outcome.facts,
        "rows": outcome.rows,
    }
    report = write_report(evaluated.folder, _facts(evaluated), kind, result)
    table = f"{kind}.md"
    text = "\n".join([markdown_table(outcome.shown()), "", *outcome.notes, *changes, ""])
    write_atomically(evaluated.folder / table, text.encode())
    pictures = dict(outcome.pictures)
    if kind in ACCURACIES:
        pictures["accuracy.png"] = accuracy_figure(report, evaluated.folder.name)
    for name, figure in pictures.items():
        save(figure, evaluated.folder / name)
    print("\n".join(["", format_table(outcome.shown()), *outcome.notes, *changes]), flush=True)
    return Table(outcome.rows, outcome.shown(), (*outcome.notes, *changes)), [table, *pictures]


def _facts(evaluated: OpenedRun) -> dict[str, Any]:
    config = evaluated.run.config
    return {
        "run": evaluated.folder.resolve().name,
        "method": method_name(config),
        "data": evaluated.data.name,
        "seed": config.seed,
    }


def _headline(evaluated: OpenedRun) -> str:
    run, data = evaluated.run, evaluated.data
    lines = [
        f"run       {evaluated.folder}: {run.epoch} of {run.config.trainer.epochs} epochs, "
        f"method {method_name(run.config)}, seed {run.config.seed}",
        f"data      {data.name}: {len(data.train)} training images{data.turns}, {data.test_count} test images"
        f"{data.calibration_count}; {evaluated.device.type}",
        f"classes   {data.class_names}",
        *(f"note      {note}" for note in data.notes),
    ]
    if evaluated.changes is not None:
        lines.append(f"warning: {evaluated.changes}")
    if run.epoch < run.config.trainer.epochs:
        lines.append("warning: the run is not finished; its last checkpoint is evaluated")
    return "\n".join(lines)


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
