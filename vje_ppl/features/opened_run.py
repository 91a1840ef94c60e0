"""A run opened for evaluation: its encoder, its data, and their features, computed when first needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from vje_ppl.data.augment import Augment
from vje_ppl.data.batches import evaluation_batches
from vje_ppl.data.feature_views import FeatureViews
from vje_ppl.data.fingerprint import data_root, digest
from vje_ppl.data.image_set import ImageData, ImageSet
from vje_ppl.data.rotations import with_rotations
from vje_ppl.data.selection import at_most
from vje_ppl.errors import UserError
from vje_ppl.features.embedder import Embedder
from vje_ppl.features.extract import Features, Representation, extract, raw_pixels
from vje_ppl.features.shards import WHOLE, Shards
from vje_ppl.networks.given_features import GivenFeatures
from vje_ppl.parallel.devices import chosen_device
from vje_ppl.runs.trained_run import TrainedRun, load
from vje_ppl.settings.build import build_augment, build_method
from vje_ppl.settings.data import load_data, load_left_out
from vje_ppl.terminal.progress import progress


@dataclass(frozen=True, eq=False)
class OpenedRun:
    """A run, its data and its features, for all evaluations.

    Attributes:
        folder: the run folder.
        options: the configuration of `configs/evaluate.yaml`.
        run: the trained run, in evaluation mode.
        data: the images for training and testing.
        augment: its augmentation.
        device: the device to compute on.
        embedder: its encoder and program.
        shards: the processes that share the work on images; only the first gets results.
        changes: a sentence if the images differ from those of the run's training and test; else None.
    """

    folder: Path
    options: DictConfig
    run: TrainedRun
    data: ImageData
    augment: Augment
    device: torch.device
    embedder: Embedder
    shards: Shards = WHOLE
    changes: str | None = None
    _cache: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def untrained(self) -> Embedder:
        """The same parts with the initial weights of the run's seed; the CPU's random state is not changed."""
        config, size = self.run.config, self.run.preprocess.size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            module = build_method(config, self.data.channels, size, self.options.trust_targets)
        for own, trained in zip(module.encoders, self.run.module.encoders, strict=True):
            if isinstance(own, GivenFeatures):  # whose scaling is not trained
                own.load_state_dict(trained.state_dict())
        return Embedder.of(module.to(self.device).eval())

    @cached_property
    def test(self) -> ImageSet:
        """The test images, at most `images.test` of them."""
        if self.data.test is None:
            advice = "put some in a folder test/"
            if isinstance(self.data.train, FeatureViews):
                advice = "add test_features to the file"
            raise UserError(f"eval needs test images, but {self.data.name} has none; {advice}.")
        return at_most(self.data.test, self.options.images.test)

    @cached_property
    def is_own_training(self) -> bool:
        """Whether the training images are those that the run was trained on, as far as is known."""
        return (self.run.fingerprint or {}).get("train") in (None, digest(self.data.train))

    @property
    def calibration(self) -> ImageSet | None:
        """The images that the run's `calibration` kept out of training; None if there are none."""
        return self.data.calibration

    def turned(self, images: ImageSet) -> ImageSet:
        """Return images in their four rotations each, if the run was trained so; else as they are."""
        return with_rotations(images) if self.data.rotations else images

    @cached_property
    def left_out(self) -> ImageSet:
        """The images of the classes that `without_class` left out of training."""
        return load_left_out(self.run.config, self.options.trust_targets, **_moved(self.options))

    @property
    def root(self) -> object:
        """The folder of its images, or None."""
        return data_root(self.run.config) if self.options.data.root is None else self.options.data.root

    def prepared(self, images: ImageSet) -> Iterator[tuple[Tensor, Tensor]]:
        """(index, prepared images), batch by batch; this process's share of them."""
        return evaluation_batches(
            images,
            self.augment.evaluation,
            batch_size=self.options.batch_size,
            device=self.device,
            share=self.shards.share(),
        )

    def features(self, embedder: Embedder, images: ImageSet) -> Features:
        """Return features of a set of images."""
        megabytes = self.options.features_mb
        return extract(embedder, self.prepared(images), len(images), megabytes, self.folder, self.shards)

    def pixels(self, images: ImageSet) -> Features:
        """Return raw pixels of a set of images, as features."""
        index, pixels = raw_pixels(images, self.data.image_size, self.shards)
        return Features(index, {"pixels": pixels})

    def representations(self, kind: str) -> Iterator[Representation]:
        """Yield features of labelled training images and of test images: trained, untrained, raw pixels.

        Args:
            kind: the evaluation, for the error.

        Yields:
            Each representation, in the first process; nothing in the others, which help to compute it.

        Raises:
            UserError: if there are no labels.
        """
        bank, test = self.data.bank, self.data.test
        if bank is None and self.data.only_class is not None:
            raise UserError(
                f"eval={kind} needs training images of several classes, but all those of {self.data.name} are of class "
                f"{self.data.only_class}; give eval=[one_class]."
            )
        if bank is None or bank.labels is None or test is None or test.labels is None:
            raise UserError(
                f"eval={kind} needs labels for training and test images, but those of {self.data.name} have none; sort "
                "the images into a folder per class."
            )
        for encoder in ("trained", "untrained", "none"):
            yield from self._representations(encoder)

    def _representations(self, encoder: str) -> list[Representation]:
        if encoder not in self._cache:
            bank, test = at_most(self.data.bank, self.options.images.bank), self.test  # type: ignore[arg-type]
            progress("features", f"{encoder if encoder != 'none' else 'pixels'}: {len(bank)} + {len(test)} images")
            if encoder == "none":
                ours, theirs = self.pixels(bank), self.pixels(test)
            else:
                embedder = self.embedder if encoder == "trained" else self.untrained
                ours, theirs = self.features(embedder, bank), self.features(embedder, test)
            labels = bank.labels[ours.images], test.labels[theirs.images]  # type: ignore[index]
            self._cache[encoder] = [
                Representation(encoder, name, ours.by_name[name], labels[0], theirs.by_name[name], labels[1])
                for name in (ours.by_name if self.shards.is_first else ())
            ]
        return self._cache[encoder]

    def of_class(self, folder: Path) -> OpenedRun:
        """Return the run of one class in `folder`, on the same data."""
        run = load(folder, str(self.device), self.options.trust_targets)
        return replace(self, folder=folder, run=run, embedder=Embedder.of(run.module), _cache={})


def open_run(options: DictConfig, device: torch.device | None = None, shards: Shards = WHOLE) -> OpenedRun:
    """Load the run and its data.

    Args:
        options: the configuration of `configs/evaluate.yaml`.
        device: the device; by default, that of the options.
        shards: the processes that share the work on images.

    Raises:
        UserError: if there is no run, or its data are missing or of another size.
    """
    folder = Path(options.run)
    device = chosen_device(options.device) if device is None else device
    run = load(folder, str(device), options.trust_targets)
    changes = _moved(options)
    if changes and "root" not in run.config.data:
        raise UserError(f"The run's data set, {run.config.data._target_}, has no folder; leave out data.root.")
    data = load_data(run.config, options.trust_targets, **changes)
    augment = build_augment(run.config, data.channels, data.image_size, options.trust_targets)
    trained_on, found = (
        _shape(run.preprocess.normalize.mean, run.preprocess.size),
        _shape(augment.evaluation.normalize.mean, augment.size),
    )
    if trained_on != found:
        raise UserError(
            f"The run was trained on images of {trained_on}, but its data set now has images of {found}; give the "
            "folder of the training's images as data.root."
        )
    changed = run.data_changes(data, options.data.root) if shards.is_first else None
    return OpenedRun(folder, options, run, data, augment, device, Embedder.of(run.module), shards, changed)


def _moved(options: DictConfig) -> dict[str, Any]:
    """Return the change of the run's `data` for images that lie in another folder than at training."""
    return {} if options.data.root is None else {"root": options.data.root}


def _shape(channels: list[float], size: int) -> str:
    return f"{len(channels)} channel(s) and {size}×{size} pixels"
