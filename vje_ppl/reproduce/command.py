"""A figure or table of the paper: its missing cells, its picture and its files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from vje_ppl.errors import UserError
from vje_ppl.parallel.devices import multiplies_bf16
from vje_ppl.pictures.style import save
from vje_ppl.reproduce.cell import Cell, cells_of, check_images
from vje_ppl.reproduce.pool import Done, Workers, run_cells
from vje_ppl.reproduce.products.ablation import ablation
from vje_ppl.reproduce.products.epochs import epochs
from vje_ppl.reproduce.products.figure_2 import figure_2
from vje_ppl.reproduce.products.figure_3 import figure_3
from vje_ppl.reproduce.products.figure_4 import figure_4
from vje_ppl.reproduce.products.knn_linear import knn_linear
from vje_ppl.reproduce.products.likelihood import likelihood
from vje_ppl.reproduce.products.one_class import one_class
from vje_ppl.reproduce.products.ood import ood
from vje_ppl.reproduce.products.scores import scores
from vje_ppl.reproduce.products.tuning import tuning
from vje_ppl.reproduce.results import NOT_RUN, Product, Results, read_results
from vje_ppl.reproduce.study import read_study
from vje_ppl.runs.files import csv_bytes, write_atomically
from vje_ppl.settings.checks import AUTO, as_list, check_table, is_whole, one_of, whole
from vje_ppl.terminal.table import format_table, markdown_table

FIGURES: dict[str, Callable[[Results], Product]] = {"2": figure_2, "3": figure_3, "4": figure_4}
TABLES: dict[str, Callable[[Results], Product]] = {
    "knn_linear": knn_linear,
    "knn_linear_no_projector": knn_linear,
    "one_class": one_class,
    "ablation": ablation,
    "ood": ood,
    "scores": scores,
    "epochs": epochs,
    "tuning": tuning,
    "tuning_no_projector": tuning,
    "likelihood": likelihood,
    "direction": knn_linear,
    "whitening": knn_linear,
}


_EMULATED = (
    "this table computes in bf16, which this processor emulates, much slower than float32; add "
    "'train={trainer.precision:32}' for a table in float32, whose cells are different ones"
)


def reproduce(config: DictConfig) -> int:
    """Compute the missing cells of a figure or table, and draw it.

    Args:
        config: the composed configuration of `configs/reproduce.yaml`.

    Returns:
        Exit code: 0, 1 if a cell failed, or 128 plus a signal's number when interrupted.

    Raises:
        UserError: for an invalid option.
    """
    name, draw = _wanted(config)
    workers = _workers(config)
    chosen = (None if given is None else as_list(given) for given in (config.blocks, config.variants, config.seeds))
    study = read_study(name, config.scale).only(*chosen)
    sources = {block: _overrides(config.sources, block) for block in config.sources}
    cells = cells_of(study, sources, _overrides(config, "train"), _overrides(config, "evaluate"), config.device)
    folder = Path(config.cells)
    results = read_results(study, cells, folder)
    check_images(cells, results.records)
    share = _share(config.part, config.parts)
    missing = [cell for number, cell in enumerate(cells) if share(number) and not results.has(cell)]
    print(f"{name}, scale {config.scale}: {len(cells)} cells, {len(results.records)} finished", flush=True)
    code = 0
    if missing and config.run:
        if any(cell.config["trainer"]["precision"] == "bf16" for cell in missing) and not multiplies_bf16(
            config.device
        ):
            print(_EMULATED, flush=True)
        code = run_cells(missing, workers, _reporter(len(missing)))
        results = read_results(study, cells, folder)
    if config.part is None:
        _write(results, draw(results), Path(config.out) / f"{name}-{config.scale}", config)
    if code > 1:
        print("interrupted; rerun the same command to resume")
    return code


def _wanted(config: DictConfig) -> tuple[str, Callable[[Results], Product]]:
    given = {"figure": config.figure, "table": config.table}
    chosen = {kind: str(one) for kind, one in given.items() if one is not None}
    if len(chosen) != 1:
        raise UserError(
            f"reproduce expects one of figure={'|'.join(FIGURES)} and table={'|'.join(TABLES)}, got "
            f"{'both' if chosen else 'neither'}."
        )
    ((kind, wanted),) = chosen.items()
    known = FIGURES if kind == "figure" else TABLES
    one_of(*known).require(kind, wanted)
    return (f"figure_{wanted}" if kind == "figure" else wanted), known[wanted]


def _overrides(config: DictConfig, key: str) -> dict[str, Any]:
    given: Any = OmegaConf.to_container(config, resolve=True)[key]  # type: ignore[index, call-overload]
    if given is not None and not isinstance(given, dict):
        raise UserError(f"{key} expects overrides as a mapping, such as '{key}={{trainer.epochs:2}}', got {given}.")
    return {} if given is None else {str(name): value for name, value in given.items()}


def _share(part: int | None, parts: int) -> Callable[[int], bool]:
    """Return a predicate of a cell's number: whether the cell belongs to this machine."""
    if part is None:
        return lambda number: True
    if not (is_whole(part) and is_whole(parts) and 0 <= part < parts):
        raise UserError(f"part expects a whole number from 0 to below parts, got part={part} and parts={parts}.")
    return lambda number: number % parts == part


def _workers(config: DictConfig) -> Workers:
    check_table(config, {"jobs": AUTO | whole(1), "threads": AUTO | whole(1)})
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = torch.cuda.device_count() if config.device != "cpu" else 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count)))).split(",")
    gpus = tuple(visible[:count])
    jobs = (count or cores) if config.jobs == "auto" else config.jobs
    threads = max(1, cores // jobs) if config.threads == "auto" else config.threads
    return Workers(jobs, threads, config.device, gpus, Path(config.root), Path(config.cells), config.debug)


def _reporter(total: int) -> Callable[[Done], None]:
    """Print a line for each cell; on a terminal, a bar below shows the number of remaining cells."""
    bar = tqdm(total=total, unit="cell", disable=None)

    def report(done: Done) -> None:
        bar.update()
        said = f"failed: {done.error}" if done.error else f"{done.seconds:.0f} s"
        tqdm.write(f"{bar.n if not bar.disable else ''}{done.cell.label}: {said}")

    return report


def _write(results: Results, product: Product, out: Path, config: DictConfig) -> None:
    """Write picture, CSV, Markdown and the exact configuration; print the table."""
    out.mkdir(parents=True, exist_ok=True)
    name = results.study.name
    about = results.about()
    save(product.figure, out / f"{name}.png")
    write_atomically(out / f"{name}.csv", csv_bytes(product.rows))
    files = [f"{name}.png", f"{name}.csv", "config.yaml"]
    if product.table:
        write_atomically(out / f"{name}.md", _markdown(product, about).encode())
        files.insert(2, f"{name}.md")
    write_atomically(out / "config.yaml", _exact(results, config).encode())
    for table in _tables(product):
        print(f"\n{format_table(table)}")
    if about or product.notes:
        print("\n".join(["", *about, *product.notes]))
    print(f"\n{out}: {', '.join(files)}")


def _markdown(product: Product, about: Sequence[str]) -> str:
    tables = [line for table in _tables(product) for line in (markdown_table(table), "")]
    return "\n".join([*tables, *(f"- {one}" for one in (*about, *product.notes)), ""])


def _tables(product: Product) -> list[list[Mapping[str, Any]]]:
    """Yield the table in parts with the same columns."""
    return [list(alike) for _, alike in groupby(product.table, key=tuple)]


def _exact(results: Results, config: DictConfig) -> str:
    """Return the options, and the commands of every run, as YAML."""

    def described(cell: Cell) -> dict[str, Any]:
        state = "finished" if results.has(cell) else NOT_RUN
        return {"cell": cell.label, "state": state, "record": cell.file_name, "commands": cell.commands}

    asked = OmegaConf.to_container(config, resolve=True)
    return OmegaConf.to_yaml(OmegaConf.create({"reproduce": asked, "cells": [described(one) for one in results.cells]}))
