"""The command: scores images, and writes a table, a picture and a summary."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import torch
from omegaconf import DictConfig
from tqdm import tqdm

from vje_ppl.errors import UserError
from vje_ppl.features.shards import Shards
from vje_ppl.parallel.devices import chosen_device, start
from vje_ppl.pictures.style import save
from vje_ppl.program.parameter_store import local_parameters
from vje_ppl.runs.files import explain, read_json
from vje_ppl.runs.trained_run import TrainedRun, load
from vje_ppl.score.calibration import p_values
from vje_ppl.score.contact_sheet import MOST, contact_sheet
from vje_ppl.score.find import written_path
from vje_ppl.score.given import Given, given
from vje_ppl.score.image_scorer import ScoredChunk
from vje_ppl.score.options import check_options
from vje_ppl.score.prepared import Prepared, prepare
from vje_ppl.score.setting import DEFAULT_SCORE, ScoreSetting, score_setting
from vje_ppl.score.stored import is_export
from vje_ppl.score.summary import SUMMARY, check_same, console_line, result_facts, write_summary
from vje_ppl.score.table import PARTIAL, TABLE, continued, finish, lowest_and_highest, read_rows, row
from vje_ppl.settings.checks import as_list
from vje_ppl.settings.groups import method_name
from vje_ppl.terminal.progress import progress
from vje_ppl.terminal.versions import versions

SHEET = "contact_sheet.png"

#: The exit code after Ctrl-C.
INTERRUPTED = 130


def score(config: DictConfig) -> int:
    """Score images, and write a table, a picture and a summary.

    Args:
        config: the composed configuration of `configs/score.yaml`.

    Returns:
        Exit code: 0, or 130 if it was interrupted.

    Raises:
        UserError: for an invalid option, a missing run, missing images, or results of other settings in the folder.
    """
    check_options(config)
    began = time.perf_counter()
    setting = score_setting(config)
    fabric = start(chosen_device(config.device).type, config.devices)
    with local_parameters(validate=config.debug):
        shards = Shards(fabric.global_rank, fabric.world_size)
        path = Path(config.run)
        run = load(path, str(fabric.device), config.trust_targets)
        found = given(_paths(config.images), run, config.workers)
        out = _out(config, path, found, setting)
        _describe(run, path, found, setting, fabric.device)
        ready = prepare(
            run,
            path,
            setting,
            calibrate=_calibrate(config.calibrate),
            batch_size=config.batch_size,
            workers=config.workers,
            data_root=config.data.root,
            trust_targets=config.trust_targets,
            shards=shards,
        )
        everything = {
            "checkpoint": ready.stored.checkpoint,
            "images": found.digest,
            "score": setting.facts,
            "calibration": None if ready.calibration is None else ready.calibration.images,
            "alpha": config.alpha,
        }
        if config.resume == "never" and shards.is_first:
            for name in (SUMMARY, TABLE, PARTIAL, SHEET):
                (out / name).unlink(missing_ok=True)
        if shards.agree(config.resume != "never" and check_same(out, everything)):
            _say_finished(out)
            return 0
        try:
            _write_table(config, ready, found, out, everything, shards)
        except KeyboardInterrupt:
            progress("score", f"interrupted: the same command goes on with {out}")
            return INTERRUPTED
    if shards.is_first:
        _write_results(config, ready, found, out, everything, time.perf_counter() - began)
    return 0


def _write_table(
    config: DictConfig, ready: Prepared, found: Given, out: Path, everything: dict[str, Any], shards: Shards
) -> None:
    """Score all images that have no row yet, and write their rows."""
    scorer, images = ready.scorer, ready.source(found.images)
    with _table(out, everything, scorer.chunk) if shards.is_first else nullcontext((None, 0)) as (file, rows):
        first = int(shards.everywhere({"first": torch.tensor(rows // scorer.chunk)})["first"])
        if rows:
            progress("score", f"continues after {rows} images")
        hidden = {"auto": None, True: False, False: True}[config.progress] if shards.is_first else True
        with tqdm(total=len(found.images), initial=rows, desc="score", unit="image", disable=hidden) as bar:
            for chunk in scorer.score(images, first, shards):
                assert file is not None
                file.write(_rows(chunk, ready, found, config.alpha))
                file.flush()
                bar.update(len(chunk.scores))
    if shards.is_first:
        finish(out)


@contextmanager
def _table(out: Path, everything: dict[str, Any], chunk: int) -> Iterator[tuple[BinaryIO, int]]:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out} cannot be created: {explain(error)}.") from error
    with continued(out, chunk) as (file, rows):
        write_summary(out, everything)
        yield file, rows


def _rows(chunk: ScoredChunk, ready: Prepared, found: Given, alpha: float) -> bytes:
    """Return the rows of a chunk as CSV."""
    known = ready.calibration
    ranks = chunk.scores * torch.nan if known is None else p_values(known.scores, chunk.scores)
    rows = []
    for number, (value, rank) in enumerate(zip(chunk.scores.tolist(), ranks.tolist(), strict=True)):
        place = chunk.first + number
        path, note = written_path(found.places[place])
        rows.append(row(path, value, rank, alpha, [chunk.reasons.get(place, ""), note]).bytes())
    return b"".join(rows)


def _write_results(
    config: DictConfig, ready: Prepared, found: Given, out: Path, everything: dict[str, Any], seconds: float
) -> None:
    """Write the picture and the summary, and print the results."""
    rows = read_rows(out / TABLE)
    if found.can_be_drawn:
        most, least = lowest_and_highest(rows, MOST)
        save(contact_sheet(found, rows, least, most, f"{found.name}: {ready.setting.name}"), out / SHEET)
    facts = result_facts(rows, ready.calibration, config.alpha) | {"left_out": found.left_out}
    words = "" if ready.calibration is None else ready.calibration.source
    facts["summary"] = console_line(facts, words)
    more = {
        "run": str(config.run),
        "device": ready.device.type,
        "seconds": seconds,
        "versions": versions("numpy", "python"),
    }
    write_summary(out, everything, facts | more)
    _print_results(out, facts)


def _say_finished(out: Path) -> None:
    """Print the results of an earlier command, in the first process."""
    progress("score", f"finished already: {out}; resume=never starts anew")
    facts = read_json(out / SUMMARY) or {}
    if isinstance(facts.get("summary"), str):
        _print_results(out, facts)


def _print_results(out: Path, facts: dict[str, Any]) -> None:
    progress("scored", str(facts["summary"]))
    for note in facts.get("notes", []):
        progress("note", str(note))
    names = [name for name in (TABLE, SHEET, SUMMARY) if (out / name).exists()]
    progress("", f"{out}: {', '.join(names)}")


def _describe(run: TrainedRun, path: Path, found: Given, setting: ScoreSetting, device: torch.device) -> None:
    """Print the first lines."""
    epochs = run.config.trainer.epochs
    progress("run", f"{path}: {run.epoch} of {epochs} epochs, method {method_name(run.config)}; {device.type}")
    progress("images", f"{found.name}: {len(found.images)}")
    of = "" if setting.features is None else f" of {setting.features}"
    progress("score", f"{setting.name}{of}, views: {setting.views}")
    if run.epoch < epochs:
        progress("warning", "the run is not finished; its last checkpoint is used")


def _out(config: DictConfig, path: Path, found: Given, setting: ScoreSetting) -> Path:
    """Return the folder for the results."""
    if config.out is not None:
        return Path(config.out)
    name = found.name if setting.name == DEFAULT_SCORE else f"{found.name}-{setting.name.replace('/', '-')}"
    return Path(f"scores-{name}") if is_export(path) else path / "scores" / name


def _paths(value: Any) -> list[str]:
    return [os.path.expanduser(str(one)) for one in as_list(value)]


def _calibrate(value: Any) -> Any:
    """Return None for the images that the run kept, False for no p-values, or paths."""
    if value is None or str(value).lower() == "true":
        return None
    return False if str(value).lower() == "false" else _paths(value)
