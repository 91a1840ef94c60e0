"""A cell: one run, its evaluation, and the record of its results."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from hydra import compose
from omegaconf import OmegaConf

from vje_ppl.data.fingerprint import data_root, fingerprint
from vje_ppl.errors import UserError
from vje_ppl.evaluate.options import ADDED, DEPENDS
from vje_ppl.reproduce.study import Study
from vje_ppl.runs.files import read_json, write_atomically
from vje_ppl.settings.data import load_data
from vje_ppl.settings.identity import canonical_json, config_digest, without_added

#: Columns of the history that a record keeps.
KEPT = ("epoch", "knn/z", "knn/mu", "knn/k", "knn/temperature", "knn/pixels", "knn/untrained_z")


@dataclass(frozen=True)
class Cell:
    """One run of a study and its evaluation, in plain containers that another process can receive.

    Attributes:
        block: the data set's name in the study.
        variant: the method's name.
        point: swept values by key.
        seed: the run's seed.
        train: overrides of `vje_ppl.train`, as typed.
        evaluate: overrides of `vje_ppl.evaluate`; if empty, the run is not evaluated.
        config: the resolved configuration of the run.
        asked: the resolved configuration of the evaluation without the run; empty if `evaluate` is empty.
    """

    block: str
    variant: str
    point: Mapping[str, Any]
    seed: int
    train: tuple[str, ...]
    evaluate: tuple[str, ...]
    config: Mapping[str, Any]
    asked: Mapping[str, Any]

    @property
    def label(self) -> str:
        """A description in words."""
        swept = [f"{key.rpartition('.')[2]} {value}" for key, value in self.point.items()]
        return ", ".join([self.block, self.variant, *swept, f"seed {self.seed}"])

    @cached_property
    def run_name(self) -> str:
        """The folder of its run, shared by cells with the same training."""
        return f"{self.block}-{self.variant}-{self.seed}-{config_digest(self.config)}"

    @cached_property
    def file_name(self) -> str:
        """The name of its record, which depends on the computation, not on folders or devices."""
        kinds = self.asked.get("eval", ())
        asked = {key: _without_folders(self.asked[key]) for kind in kinds for key in DEPENDS[kind]}
        asked = without_added(asked, ADDED)
        text = canonical_json([config_digest(self.config), sorted(kinds), asked])
        return f"{self.block}-{self.variant}-{self.seed}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"

    @property
    def commands(self) -> list[str]:
        """The commands that do the same."""
        lines = [f"python -m vje_ppl.train {_quoted(self.train)}"]
        return lines + ([f"python -m vje_ppl.evaluate run=<its folder> {_quoted(self.evaluate)}"] * bool(self.evaluate))


def cells_of(
    study: Study, sources: Mapping[str, Any], train: Mapping[str, Any], evaluate: Mapping[str, Any], device: str
) -> list[Cell]:
    """Return all cells of a study, the most useful first: all variants at the first seed.

    Hydra must be initialized; a configuration is composed once a variant.

    Args:
        study: the study.
        sources: for each block, overrides that choose its images; None: `data` is the block's name.
        train: further overrides of all runs, by key.
        evaluate: further overrides of all evaluations, by key.
        device: the device.
    """
    further, asking = typed(train), typed(evaluate)
    by_seed: dict[int, list[Cell]] = {}
    for block in study.blocks:
        if block.name not in sources:
            raise UserError(f"sources.{block.name} says where images come from; give it as {{data: <name>}}.")
        source = typed({"data": block.name} | dict(sources[block.name] or {}))
        asked: Any = {}
        commands = (*block.evaluate, *asking) if block.evaluate else ()
        if commands:
            asked = OmegaConf.to_container(compose("evaluate", [*commands]), resolve=True)
        for variant, overrides in block.variants.items():
            shared = [*source, *block.train, *overrides, *further]
            composed = compose("train", [*shared, f"trainer.device={device}", "trainer.progress=false"])
            for (place, seed), point in product(enumerate(block.seeds), block.points()):
                config, own = composed.copy(), {**point, "seed": seed}
                for key, value in own.items():
                    OmegaConf.update(config, key, value)
                resolved: Any = OmegaConf.to_container(config, resolve=True)
                train_as_typed = (*shared, *typed(own))
                cell = Cell(block.name, variant, dict(point), seed, train_as_typed, commands, resolved, asked)
                by_seed.setdefault(place, []).append(cell)
    return [cell for same in by_seed.values() for cell in same]


def typed(overrides: Mapping[str, Any]) -> list[str]:
    """Return overrides as typed, with quotes where Hydra needs them."""

    def value(one: Any) -> str:
        plain = isinstance(one, str) and one.isidentifier()
        return one if plain else json.dumps(one, ensure_ascii=False)

    return [f"{key}={value(one)}" for key, one in overrides.items()]


def read_record(cells: Path, cell: Cell) -> dict[str, Any] | None:
    """Read the record of a finished cell; None if it is not finished.

    Raises:
        UserError: if the file is damaged.
    """
    return read_json(cells / cell.file_name, "remove it to compute the cell again")


def check_images(cells: Sequence[Cell], records: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse records of other images than those that a source now gives; checks one record per block.

    Records without a fingerprint, and missing images, are accepted.

    Args:
        cells: the cells of a study.
        records: records of finished cells, by file name.

    Raises:
        UserError: for the first block with records of other images.
    """
    seen = set()
    for cell in cells:
        known = records.get(cell.file_name, {}).get("metrics", {}).get("data", {}).get("fingerprint")
        told_where = any(one.startswith("data.root=") for one in cell.train)
        if known is None or not told_where or cell.block in seen:
            continue
        seen.add(cell.block)
        try:
            now = fingerprint(load_data(OmegaConf.create(dict(cell.config))))["train"]
        except UserError:
            continue
        if now != known:
            raise UserError(
                f"The records of {cell.block} come from other images than those in {data_root(cell.config)}; give new "
                f"folders cells=<folder> and root=<folder> for these images, or the sources.{cell.block} that the "
                f"records were made with."
            )


def run_cell(cell: Cell, root: Path, cells: Path, device: str, debug: bool) -> int:
    """Train and evaluate one cell, or resume it, and write its record.

    All output goes to `log.txt` in the run folder.

    Returns:
        Exit code: 0, or 128 plus a signal's number when interrupted.

    Raises:
        UserError: for anything that the user can fix.
    """
    from vje_ppl.evaluate.__main__ import evaluate
    from vje_ppl.train.run import train

    folder = root / cell.run_name
    folder.mkdir(parents=True, exist_ok=True)
    config = OmegaConf.create(dict(cell.config))
    OmegaConf.update(config, "run", {"root": str(root), "name": cell.run_name}, merge=False)
    with (folder / "log.txt").open("a", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
        code = train(config)
        if code:
            return code
        if cell.evaluate:
            asked = OmegaConf.create({**cell.asked, "run": str(folder), "device": device, "debug": debug})
            evaluate(asked)
    record = {
        "block": cell.block,
        "variant": cell.variant,
        "point": dict(cell.point),
        "seed": cell.seed,
        "train": list(_portable(cell.train)),
        "evaluate": list(cell.evaluate),
        "metrics": read_json(folder / "metrics.json"),
        "history": list(_history(folder / "metrics.csv")),
        "evaluation": _evaluation(folder, cell),
    }
    cells.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    write_atomically(cells / cell.file_name, f"{text}\n".encode())
    return 0


def _evaluation(folder: Path, cell: Cell) -> dict[str, Any]:
    """Return the rows of each requested kind of evaluation."""
    if not cell.evaluate:
        return {}
    report = read_json(folder / "evaluation.json") or {}
    return {kind: report[kind]["rows"] for kind in cell.asked["eval"]}


def _history(path: Path) -> Iterator[dict[str, float]]:
    """Yield the epochs with k-NN."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row.get("knn/z"):
                yield {key: float(row[key]) for key in KEPT if row.get(key)}


def _portable(overrides: Sequence[str]) -> Iterator[str]:
    """Return overrides without the local folder of the images."""
    return (one for one in overrides if not one.startswith("data.root="))


def _without_folders(asked: Any) -> Any:
    """Return options of an evaluation without the folders of other data sets."""
    if isinstance(asked, Mapping):
        return {key: _without_folders(value) for key, value in asked.items() if key != "root"}
    return [_without_folders(one) for one in asked] if isinstance(asked, list) else asked


def _quoted(overrides: Sequence[str]) -> str:
    return " ".join(f"'{one}'" if set("[]{}*?$ ") & set(one) else one for one in overrides)
