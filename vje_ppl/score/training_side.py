"""What a score needs of the training images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vje_ppl.data.image_set import ImageSet
from vje_ppl.data.selection import at_most
from vje_ppl.errors import UserError
from vje_ppl.features.opened_run import OpenedRun
from vje_ppl.features.shards import Shards
from vje_ppl.measures.anomaly.distances import MAHALANOBIS, Mahalanobis
from vje_ppl.measures.anomaly.scorer import augmented_training
from vje_ppl.score.setting import JOINT, WITH_TRAINING, ScoreSetting
from vje_ppl.score.stored import Stored


@dataclass(frozen=True, eq=False)
class TrainingSide:
    """What a score needs of the training images; None for what it does not need.

    Attributes:
        features: their features without augmentation, (M, D).
        augmented: their embeddings under one random view each, (M, D).
        gaussian: the Gaussian fitted to these, which stands in for them.
        is_own: whether they are those that the run was trained on, as far as is known.
    """

    features: Float[Tensor, "M D"] | None = None
    augmented: Float[Tensor, "M D"] | None = None
    gaussian: Mahalanobis | None = None
    is_own: bool = True


def training_side(
    setting: ScoreSetting,
    stored: Stored,
    opened: Callable[[], OpenedRun],
    dim: int,
    device: torch.device,
    shards: Shards,
) -> TrainingSide:
    """Return what a score needs of the training images: as stored with the run, or else computed from the images.

    Args:
        setting: the score.
        stored: the files of the run or export.
        opened: opens the run's images.
        dim: embedding width D.
        device: where distances are computed.
        shards: the processes that share the images.

    Raises:
        UserError: for an export that does not hold what is needed.
    """
    if not (setting.is_distance or setting.kind in WITH_TRAINING):
        return TrainingSide()
    if setting.kind == MAHALANOBIS:
        gaussian, is_own = _gaussian(setting, stored, opened, dim, device, shards)
        return TrainingSide(gaussian=gaussian, is_own=is_own)
    if stored.is_export:
        raise UserError(
            f"score={setting.name} compares with the training images, which an export does not hold; give "
            "run=<run folder>, or another score, such as mahalanobis or conditional."
        )
    features, augmented = _features(setting, opened(), shards), None
    if setting.kind == JOINT and setting.augmentations:
        run = opened()
        augmented = augmented_training(run, _training(setting, run), setting.options())
    return TrainingSide(features=features, augmented=augmented)


def _gaussian(
    setting: ScoreSetting,
    stored: Stored,
    opened: Callable[[], OpenedRun],
    dim: int,
    device: torch.device,
    shards: Shards,
) -> tuple[Mahalanobis, bool]:
    """Return the Gaussian of the training images, and whether they are those that the run was trained on."""
    is_own = True
    found = stored.gaussian(setting, dim) if shards.is_first else None
    if not shards.agree(found is not None):
        if stored.is_export:
            raise UserError(
                f"{stored.folder} does not hold the statistics of the training images that score={setting.name} needs; "
                "export the run again after training it with calibration=0.1, or give the run folder as run=."
            )
        features = _features(setting, opened(), shards)
        if shards.is_first:
            is_own = opened().is_own_training
            found = Mahalanobis.of(features, torch.device("cpu"))
            if is_own:  # other images may be there for this command only
                stored.keep_gaussian(setting, found)
    tensors = None if found is None else {"mean": found.mean, "precision": found.precision}
    shared = shards.everywhere(tensors)
    return Mahalanobis(shared["mean"].to(device), shared["precision"].to(device)), is_own


def _features(setting: ScoreSetting, opened: OpenedRun, shards: Shards) -> Float[Tensor, "M D"]:
    """Return features of the training images, in every process."""
    training = _training(setting, opened)
    name = setting.features or "z"
    found = opened.features(opened.embedder, training).by_name
    return shards.everywhere({name: found[name]} if shards.is_first else None)[name]


def _training(setting: ScoreSetting, opened: OpenedRun) -> ImageSet:
    """Return the training images to compare with."""
    return at_most(opened.turned(opened.data.train), setting.bank)
