"""A finished run, as its folder describes it."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vje_ppl.compare.columns import class_name
from vje_ppl.errors import UserError
from vje_ppl.runs.folder import read_config
from vje_ppl.settings.checks import is_number, is_whole
from vje_ppl.settings.groups import METHOD, method_name
from vje_ppl.settings.identity import canonical_json, leaves, with_effect

#: Final figures; a run may lack some, such as k-NN without labels.
METRICS = ("knn/z", "knn/mu", "rankme", "lidar", "kl", "elbo", "seconds")
REFERENCES = ("knn/k", "knn/temperature", "knn/pixels", "knn/untrained_z")
PARTS = ("data", "encoder", "augment", "trainer")

#: The groups of keys that say which images a run learns from.
IMAGES = ("data", "hold_out", "calibration", "without_class", "rotations")


@dataclass(frozen=True)
class Record:
    """One finished run.

    Attributes:
        path: its folder.
        name: the path of the folder, relative to the folder that holds all compared runs.
        seed: its seed.
        config: its configuration without the seed and the keys that do not change the result.
        leaves: `config` by dotted keys, with the name of the method, and with the data set's name and number of images
            where the run recorded them.
        metrics: final figures by name; None where the run has none or it is not finite.
        images: a digest of the training images; None for an older run.
    """

    path: Path
    name: str
    seed: int
    config: dict[str, Any]
    leaves: dict[str, Any]
    metrics: dict[str, float | None]
    images: str | None = None

    @property
    def setting(self) -> str:
        """All that defines the run except the seed, as text."""
        return canonical_json([self.config["data"].get("_target_"), self.leaves])


def read_record(path: Path, name: str) -> Record:
    """Read a run without executing any code that it names.

    Args:
        path: its folder.
        name: its name.

    Raises:
        UserError: if the run is unfinished or damaged, or if the folder is not a run of `vje_ppl.train`.
    """
    config = read_config(path / "config.yaml")
    if config is None:
        raise UserError("no config.yaml: not a run, or a run that never started")
    parts = (*PARTS, "likelihood" if config.get(METHOD) is None else METHOD)
    missing = [part for part in parts if not isinstance(config.get(part), dict)]
    epochs = None if missing else config["trainer"].get("epochs")
    if missing or not is_whole(epochs) or not is_whole(config.get("seed")):
        lacking = missing or (["trainer.epochs"] if not is_whole(epochs) else ["seed"])
        raise UserError(f"config.yaml was not written by vje_ppl.train: it lacks {lacking[0]}")
    metrics = _read_metrics(path)
    if metrics is None:
        raise UserError(f"unfinished: {_epochs_done(path)} of {epochs} epochs; rerun the same command to resume")
    if metrics.get("epoch") != epochs:
        raise UserError(f"unfinished: metrics.json is from epoch {metrics.get('epoch')} of {epochs}")
    reduced = {key: value for key, value in with_effect(config).items() if key != "seed"}
    figures = {key: _number(metrics, key) for key in (*METRICS, *REFERENCES)}
    flat = dict(leaves(reduced))
    flat.pop(f"{METHOD}._target_", None)
    named = {METHOD: method_name(config), **_named(flat, metrics)}
    data = metrics.get("data")
    images = data.get("fingerprint") if isinstance(data, Mapping) else None
    return Record(path, name, config["seed"], reduced, named, figures, images if isinstance(images, str) else None)


def mark_other_images(records: Sequence[Record]) -> list[Record]:
    """Add a digest to the names of data sets that have the same name, options and size, but different images.

    The data sets of older runs, which recorded no digest, keep their names.
    """
    images: dict[str, set[str]] = {}
    for record in records:
        if record.images is not None:
            images.setdefault(_data(record), set()).add(record.images)
    return [
        replace(record, leaves=record.leaves | {"data": f"{record.leaves['data']} {record.images[-8:]}"})
        if record.images is not None and len(images[_data(record)]) > 1
        else record
        for record in records
    ]


def _data(record: Record) -> str:
    """Return the part of the configuration that chooses the images, as text."""
    chosen = {key: value for key, value in record.leaves.items() if key.partition(".")[0] in IMAGES}
    return canonical_json([record.config["data"].get("_target_"), chosen])


def _named(flat: dict[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Put the data set's name under `data`, since the loader's class does not distinguish folders of images."""
    loader = flat.pop("data._target_", None)
    data = metrics.get("data")
    if isinstance(data, Mapping) and isinstance(data.get("name"), str) and is_whole(data.get("images")):
        flat.pop("data.subset", None)
        return {"data": data["name"], "data.images": data["images"], **flat}
    return {"data": class_name(loader), **flat}


def _read_metrics(path: Path) -> dict[str, Any] | None:
    try:
        metrics = json.loads((path / "metrics.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"metrics.json cannot be read: {(error.strerror or str(error)).lower()}") from error
    except (ValueError, RecursionError) as error:
        raise UserError("metrics.json is not valid JSON: truncated or altered") from error
    if not isinstance(metrics, dict):
        raise UserError(f"metrics.json must map names to numbers, got a {type(metrics).__name__}")
    return metrics


def _number(metrics: Mapping[str, Any], key: str) -> float | None:
    value = metrics.get(key)
    if value is not None and not is_number(value):
        raise UserError(f"metrics.json expects a number for {key}, got {value!r}")
    return value


def _epochs_done(path: Path) -> str:
    try:
        rows = list(csv.DictReader((path / "metrics.csv").read_text(encoding="utf-8").splitlines()))
        return str(rows[-1]["epoch"])
    except (OSError, ValueError, LookupError, csv.Error):
        return "none"
