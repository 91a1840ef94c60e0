"""eval=one_class: train a model on each class alone; can it detect the other classes?"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stdout
from copy import deepcopy
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from vje_ppl.data.image_set import ImageSet
from vje_ppl.data.selection import class_index, class_list, of_class, select_class
from vje_ppl.errors import UserError
from vje_ppl.evaluate.outcome import Outcome
from vje_ppl.evaluate.pictures import one_class_figure
from vje_ppl.features.opened_run import OpenedRun
from vje_ppl.measures.anomaly.complexity import complexity_correlations
from vje_ppl.measures.anomaly.scorer import score_options, scorer
from vje_ppl.measures.anomaly.tables import notes, one_class_table
from vje_ppl.measures.detection import auroc
from vje_ppl.runs.files import open_no_link
from vje_ppl.settings.build import build
from vje_ppl.settings.checks import as_list
from vje_ppl.settings.data import left_out_classes
from vje_ppl.terminal.progress import progress
from vje_ppl.train.run import train

FOLDER = "one_class"

#: Fewest steps in an epoch of a small class, unless `one_class.batch_size` is given.
STEPS = 4

NOTE = (
    "AUROC with images of other classes as positives, over the whole test set, each image once, at the last epoch. The "
    "headline was fixed beforehand: conditional, augmented-augmented, S = 16, 8 pairs."
)


def evaluate_one_class(evaluated: OpenedRun) -> Outcome:
    """Train missing models, score every test image once under each model, and compare with the labels.

    A run that was itself trained on one class or a list of classes (`data.only_class`, or training images of one
    class) is scored as it is: other classes of test images are anomalies.

    Returns:
        A row for each score and class and, with class `mean`, for the mean over classes.

    Raises:
        UserError: for images without labels, or missing classes.
        SystemExit: if training is interrupted; the same command resumes it.
    """
    test = evaluated.test
    if test.labels is None or test.classes is None:
        raise UserError(
            f"eval=one_class needs labels for training and test images, but those of {evaluated.data.name} have none; "
            "sort both into a folder per class, or into train/good, test/good and test/<fault>."
        )
    own = class_list(OmegaConf.select(evaluated.run.config, "data.only_class"))
    if not own and evaluated.data.only_class is not None:
        own = [evaluated.data.only_class]
    rows: list[dict[str, Any]] = []
    if own:
        rows += _rows(evaluated, test, [class_index(test.classes, one) for one in own])
    else:
        wanted = evaluated.options.one_class.classes
        if wanted is None:
            left_out = {class_index(test.classes, one) for one in left_out_classes(evaluated.run.config)}
            chosen = [label for label in range(len(test.classes)) if label not in left_out]
        else:
            chosen = [class_index(test.classes, one, "one_class.classes") for one in as_list(wanted)]
        if not chosen:
            raise UserError("one_class.classes expects at least one class, got none; null selects all classes.")
        _check_sizes(evaluated, test.classes, chosen)
        for place, (label, name) in enumerate(zip(chosen, folder_names(test.classes, chosen), strict=True)):
            progress("one class", f"{test.classes[label]}: model {place + 1} of {len(chosen)}")
            rows += _rows(_trained_on(evaluated, test.classes[label], name), test, [label])
    if not evaluated.shards.is_first:
        return Outcome([])
    rows += _means(rows)
    figure = one_class_figure(rows, evaluated.folder.resolve().name)
    said = notes(rows, score_options(evaluated.options).wants, evaluated.embedder.program is not None)
    return Outcome(rows, table=one_class_table(rows), notes=(NOTE, *said), pictures={"one_class.png": figure})


def folder_names(classes: Sequence[str], chosen: Sequence[int]) -> list[str]:
    """Return unique folder names for classes, without characters that file names should not have."""
    plain = [re.sub(r"[^\w.-]+", "-", name).strip("-.") for name in classes]
    return [
        plain[label] if plain[label] and plain.count(plain[label]) == 1 else f"{plain[label]}-{label}".strip("-")
        for label in chosen
    ]


def _check_sizes(evaluated: OpenedRun, classes: Sequence[str], chosen: Sequence[int]) -> None:
    """Refuse a class with too few training images before any training."""
    labels, batch_size = evaluated.data.train.labels, evaluated.options.one_class.batch_size
    counts = Counter([] if labels is None else labels.tolist())
    for label in chosen:
        images = counts[label]
        if images == 0:
            select_class(evaluated.data.train, classes[label])  # refuses it
        if images < 2:
            raise UserError(
                f"eval=one_class trains on each class alone, but the class {classes[label]} has only {images} training "
                f"image and needs 2; add images, or give the other classes as one_class.classes=[...]."
            )
        if batch_size is not None and images < batch_size:
            raise UserError(
                f"one_class.batch_size={batch_size} does not fit the {images} training images of the class "
                f"{classes[label]}; set it to at most {images}, or to null."
            )


def class_config(evaluated: OpenedRun, only_class: str, name: str, images: int) -> DictConfig:
    """Return the run's configuration for one class, in a folder inside the run's."""
    options, config = evaluated.options, deepcopy(evaluated.run.config)
    if "only_class" not in config.data:
        raise UserError(
            f"eval=one_class needs a data set with the argument only_class, which {config.data._target_} does not have."
        )
    build(config.optimizer, "optimizer", options.trust_targets)  # all other parts were built when the run was opened
    batch_size = options.one_class.batch_size or min(config.batch_size, max(2, images // STEPS))
    changes = {
        "run": {"root": str(evaluated.folder / FOLDER), "name": name},
        "data.only_class": only_class,
        "batch_size": batch_size,
        "trainer.epochs": config.trainer.epochs if options.one_class.epochs is None else options.one_class.epochs,
        "trainer.device": options.device,
        "trainer.devices": options.devices,
        "trainer.num_nodes": 1,
        "trainer.accumulate": math.gcd(batch_size, config.trainer.accumulate),
        "knn.every": 0,
        "logger": {},
        "resume": options.resume,
        "debug": options.debug,
    }
    if options.data.root is not None:
        changes["data.root"] = options.data.root
    for key, value in changes.items():
        OmegaConf.update(config, key, value, merge=False, force_add=True)
    return with_newer_keys(config)


def with_newer_keys(config: DictConfig) -> DictConfig:
    """Return the configuration of a run with the defaults of options that its version did not have."""
    defaults = OmegaConf.create((files("vje_ppl.configs") / "train.yaml").read_text(encoding="utf-8"))
    assert isinstance(defaults, DictConfig)
    newer = [str(key) for key in defaults if key not in ("defaults", "hydra") and key not in config]
    for key in newer:
        OmegaConf.update(config, key, defaults[key], merge=False, force_add=True)
    return config


def _trained_on(evaluated: OpenedRun, only_class: str, name: str) -> OpenedRun:
    """Return the run of one class, trained or resumed if needed; its output goes to `train.log`."""
    images = select_class(evaluated.data.train, only_class)
    config = class_config(evaluated, only_class, name, len(images))
    folder = evaluated.folder / FOLDER / name
    if evaluated.shards.is_first:
        folder.mkdir(parents=True, exist_ok=True)
    said = folder / "train.log" if evaluated.shards.is_first else Path(os.devnull)
    with open_no_link(said, "a") as log, redirect_stdout(log):
        code = train(config)
    if code:
        progress("one class", f"interrupted: the same command goes on with {folder}")
        raise SystemExit(code)
    return replace(evaluated.of_class(folder), data=of_class(evaluated.data, only_class))


def _rows(evaluated: OpenedRun, test: ImageSet, normal: list[int]) -> list[dict[str, Any]]:
    """Return a row for each score: the images of the normal classes against all others of the test set."""
    assert test.labels is not None
    assert test.classes is not None
    index, scores = scorer(evaluated)(test)
    if not evaluated.shards.is_first:
        return []
    is_normal = np.isin(test.labels[index].numpy(), normal)
    name = ", ".join(test.classes[label] for label in normal)
    if is_normal.all() or not is_normal.any():
        raise UserError(
            f"The {len(is_normal)} test images must include some of class {name} and some of others; raise images.test."
        )
    config = evaluated.run.config
    facts = {
        "class": name,
        "n_normal": int(is_normal.sum()),
        "n_anomalous": int((~is_normal).sum()),
        "trained_on": len(evaluated.data.train),
        "epochs": evaluated.run.epoch,
        "batch_size": config.batch_size,
        "seed": config.seed,
    }
    return [
        {
            **score.kind.row,
            "headline": score.kind.is_headline,
            **facts,
            "auroc": auroc(score.values[is_normal], score.values[~is_normal]),
            "complexity_correlation": correlation,
        }
        for score, correlation in zip(scores, complexity_correlations(scores), strict=True)
    ]


def _means(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the mean of each score over classes, without the facts that differ between classes."""
    by_score: dict[tuple, list[dict[str, Any]]] = {}
    for row in rows:
        by_score.setdefault(tuple(row[key] for key in ("score", "encoder", "features", "views")), []).append(row)
    return [
        {key: value for key, value in same[0].items() if all(row.get(key) == value for row in same)}
        | {"class": "mean", "classes": len(same), "auroc": float(np.mean([row["auroc"] for row in same]))}
        | {"complexity_correlation": _mean([row["complexity_correlation"] for row in same])}
        for same in by_score.values()
    ]


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
