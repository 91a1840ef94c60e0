"""A run ready to score images: the score, what it needs of the training images, and calibration scores."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from vje_ppl.data.augment import Augment
from vje_ppl.data.fingerprint import digest
from vje_ppl.data.image_set import ImageSet
from vje_ppl.data.rotations import with_rotations
from vje_ppl.errors import UserError
from vje_ppl.features.embedder import Embedder
from vje_ppl.features.opened_run import OpenedRun, open_run
from vje_ppl.features.shards import WHOLE, Shards
from vje_ppl.runs.trained_run import TrainedRun
from vje_ppl.score.calibration import Calibration
from vje_ppl.score.given import given, image_form
from vje_ppl.score.image_scorer import ImageScorer, check_method
from vje_ppl.score.reading import CALIBRATION_PLACES, ImageForm, Source, source
from vje_ppl.score.setting import TYPICALITY, ScoreSetting
from vje_ppl.score.stored import Stored
from vje_ppl.score.training_side import TrainingSide, training_side
from vje_ppl.settings.build import build_augment

#: Megabytes of features of the training images to hold in memory.
_FEATURES_MB = 4096

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A run ready to score images.

    Attributes:
        scorer: computes the score.
        setting: the score.
        training: what it needs of the training images.
        calibration: scores of the calibration images; None without p-values.
        form: the form of the run's images.
        augment: the run's augmentation.
        stored: the files of the run.
        device: where scores are computed.
    """

    scorer: ImageScorer
    setting: ScoreSetting
    training: TrainingSide
    calibration: Calibration | None
    form: ImageForm
    augment: Augment
    stored: Stored
    device: torch.device

    def source(self, images: ImageSet, offset: int = 0) -> Source:
        """Return images as a source for the scorer: in memory, in the form of the run's, or files.

        Raises:
            UserError: for feature vectors of a single view, if the score has random views.
        """
        if self.setting.augmentations and self.augment.most_views(images) < 2:
            raise UserError(
                f"score={self.setting.name} with views={self.setting.views} needs two or more feature vectors of each "
                "image, (images, views, features), got one; give more, or another score or views."
            )
        pin, images = self.device.type == "cuda", with_rotations(images) if self.scorer.rotations else images
        return source(images, self.augment, self.form, self.scorer.seed, self.setting.augmentations, pin, offset)

    def copy_to(self, folder: Path) -> None:
        """Write to the folder of an export what scoring needs beside the weights.

        Raises:
            UserError: if the training images are not those that the run was trained on.
        """
        assert self.calibration is not None
        if not self.training.is_own:
            raise UserError(
                f"The training images of {self.stored.folder} have changed since its training, so their statistics "
                "cannot be exported; restore them, or give data.root=<their folder>."
            )
        export = Stored(folder, True, self.stored.weights)
        export.keep_scores(self.setting, self.calibration.images, self.calibration.scores)
        if self.training.gaussian is not None:
            export.keep_gaussian(self.setting, self.training.gaussian)


def prepare(
    run: TrainedRun,
    path: Path,
    setting: ScoreSetting,
    *,
    calibrate: Any = None,
    batch_size: int = 256,
    workers: int = 2,
    data_root: str | None = None,
    trust_targets: bool = False,
    shards: Shards = WHOLE,
) -> Prepared:
    """Compute, or read as stored with the run, all that does not depend on the images to score.

    Args:
        run: the run, on the device to compute on.
        path: its folder, or that of an export.
        setting: the score.
        calibrate: None: the images that the run kept for calibration; False: no p-values; else normal images, as for
            `vje_ppl.score.given.given`.
        batch_size: images at a time, about.
        workers: processes that decode image files.
        data_root: folder of the run's own images, if it has changed.
        trust_targets: whether the run's configuration may name classes outside `vje_ppl`.
        shards: the processes that share the images; only the first gets calibration scores.

    Raises:
        UserError: if the run does not have the score, or there are no images to calibrate with.
    """
    config, device = run.config, next(run.module.parameters()).device
    embedder = Embedder.of(run.module)
    check_method(embedder, setting)
    stored = Stored.of(path, run.module.state_dict())
    kept = (run.fingerprint or {}).get("calibration")
    if calibrate is None and kept is None:
        raise UserError(
            f"p-values need calibration images, but the run {path} kept none; train with calibration=0.1, give "
            "calibrate=<normal images that the run has not learned from>, or calibrate=false."
        )

    @cache
    def opened() -> OpenedRun:
        found = open_run(_evaluation_options(path, data_root, batch_size, trust_targets), device, shards)
        if found.changes is not None and shards.is_first:
            _log.warning("%s", found.changes)
        return found

    def kept_images() -> ImageSet:
        if kept is None:
            raise UserError(
                f"score={setting.name} is fitted to images that the run has not learned from, but {path} kept none; "
                "train with calibration=0.1, or give another score."
            )
        return _kept_images(opened(), kept, stored)

    form = image_form(run)
    augment = build_augment(config, form.channels, form.side, trust_targets)
    training = training_side(setting, stored, opened, embedder.dim, device, shards)
    rotations = bool(config.get("rotations", False))
    scorer = ImageScorer(embedder, augment, setting, training, device, batch_size, rotations)
    ready = Prepared(scorer, setting, training, None, form, augment, stored, device)
    if setting.kind == TYPICALITY:
        scorer.fit_typicality(ready.source(_every_other(kept_images(), 0)), shards)
    if calibrate is False:
        return ready
    if calibrate is None:
        assert kept is not None
        words, images = "that the run kept", kept_images
        if setting.kind == TYPICALITY:  # the images that it is fitted to would seem more usual than others
            images = lambda: _every_other(kept_images(), 1)  # noqa: E731
    else:
        found = given(calibrate, run, workers, "calibrate")
        kept, words, images = found.digest, f"of {found.name}", lambda: found.images
    calibration = _calibration(ready, kept, words, images, shards)
    return replace(ready, calibration=calibration)


def _kept_images(opened: OpenedRun, kept: str, stored: Stored) -> ImageSet:
    """Return the run's calibration images, checked to be those that it has not learned from."""
    images = opened.calibration
    if images is None or digest(images) != kept:
        raise UserError(
            f"The images of {stored.folder} have changed since its training, so its calibration images may be among "
            "those that it learned from; restore them, give data.root=<their folder>, or calibrate=<normal images>."
        )
    return images


def _every_other(images: ImageSet, first: int) -> ImageSet:
    """Return every other image, the first or the second of each two."""
    return images.select(np.arange(first, len(images), 2))


def _calibration(
    ready: Prepared, images: str, words: str, opened: Callable[[], ImageSet], shards: Shards
) -> Calibration:
    """Return calibration scores, stored or computed, in the first process."""
    stored, setting = ready.stored, ready.setting
    scores = stored.scores(setting, images) if shards.is_first else None
    if not shards.agree(scores is not None):
        if stored.is_export and words.startswith("that"):
            raise UserError(
                f"{stored.folder} does not hold the calibration scores of score={setting.name} with these options; "
                "give run=<run folder>, calibrate=<normal images>, or calibrate=false."
            )
        of = ready.source(opened(), CALIBRATION_PLACES)
        parts = [chunk.scores for chunk in ready.scorer.score(of, shards=shards)]
        if shards.is_first:
            scores = _usable(np.concatenate(parts), words)
            stored.keep_scores(setting, images, scores)
    return Calibration(np.empty(0) if scores is None else scores, words, images)


def _usable(scores: np.ndarray, words: str) -> np.ndarray:
    usable = scores[~np.isnan(scores)]
    if not len(usable):
        raise UserError(
            f"None of the {len(scores)} calibration images {words} has a score; give calibrate=<other normal "
            "images>, or calibrate=false."
        )
    if len(usable) < len(scores):
        _log.warning("%d of the %d calibration images %s have no score", len(scores) - len(usable), len(scores), words)
    return usable


def _evaluation_options(path: Path, root: str | None, batch_size: int, trust_targets: bool) -> DictConfig:
    """Return the options of `configs/evaluate.yaml` that opening a run's images needs."""
    return OmegaConf.create(
        {
            "run": str(path),
            "data": {"root": root},
            "batch_size": batch_size,
            "features_mb": _FEATURES_MB,
            "trust_targets": trust_targets,
        }
    )
