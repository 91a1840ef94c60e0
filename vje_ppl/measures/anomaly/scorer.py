"""Anomaly scores of a set of images, by program or density, and by distances; `kinds` has their names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped
from omegaconf import DictConfig
from torch import Tensor

from vje_ppl.data.augment import Augment
from vje_ppl.data.batches import BLOCK, evaluation_views
from vje_ppl.data.feature_views import FeatureViews
from vje_ppl.data.image_set import ImageSet
from vje_ppl.data.rotations import TURNS, mean_over_rotations
from vje_ppl.data.selection import at_most
from vje_ppl.errors import UserError
from vje_ppl.features.embedder import Embedder
from vje_ppl.features.opened_run import OpenedRun
from vje_ppl.features.shards import WHOLE, Part, Shards
from vje_ppl.measures.anomaly.complexity import KIND as COMPLEXITY_KIND
from vje_ppl.measures.anomaly.complexity import complexity
from vje_ppl.measures.anomaly.conditional_densities import LARGEST
from vje_ppl.measures.anomaly.distances import DISTANCES, Distances
from vje_ppl.measures.anomaly.kinds import JOINT, NAMES, OF_PROGRAM, TYPICALITY, Score, ScoreKind
from vje_ppl.measures.anomaly.program_scores import DensityScores, ProgramScores
from vje_ppl.measures.anomaly.program_terms import Scores
from vje_ppl.measures.anomaly.traced import map_posterior
from vje_ppl.measures.anomaly.view_pairs import CLEAN, ScoreOptions, single_views
from vje_ppl.parallel.randomness import Stream, stream_seed
from vje_ppl.settings.checks import as_list, check_names


class AnomalyScorer:
    """Scores images by the training images of one embedder.

    A score depends on the seed and the image's place in its set, not on other images.

    Args:
        embedder: encoder and, if the method has one, program or density.
        augment: makes the views.
        training: features of M training images without augmentation by name, (M, D) each.
        options: numbers of views, draws and neighbours.
        device: the device.
        shards: the processes that share the images; only the first gets scores.
        augmented: embeddings of one random view of each training image, (M, D); None: `joint` is reported for pairs of
            views without augmentation alone.
        calibration: normal images that were not trained on, for `typicality`; None: it is not reported.
    """

    def __init__(
        self,
        embedder: Embedder,
        augment: Augment,
        training: dict[str, Float[Tensor, "M D"]],
        options: ScoreOptions,
        device: torch.device,
        shards: Shards = WHOLE,
        augmented: Float[Tensor, "M D"] | None = None,
        calibration: ImageSet | None = None,
    ) -> None:
        self._shards = shards
        self._embedder, self._augment, self._options, self._device = embedder, augment, options, device
        compared = training if any(map(options.wants, DISTANCES)) else {}
        self._to_training = {name: Distances(one, options.neighbours, device) for name, one in compared.items()}
        self._density = None if embedder.density is None else DensityScores(embedder.density, options)
        self._program = None
        if embedder.program is not None and any(map(options.wants, OF_PROGRAM)):
            augmented = None if augmented is None else augmented.to(device)
            self._program = ProgramScores(embedder.program, training["z"].to(device), options, augmented)
            if calibration is not None and options.wants(TYPICALITY):
                self._program.calibrate(self._calibration_statistics(self._program, calibration))

    @torch.no_grad()
    def __call__(self, images: ImageSet) -> tuple[Int64[Tensor, " N"], list[Score]]:
        """Score images.

        Returns:
            The places of the scored images, [N], and their scores; empty except in the first process.

        Raises:
            UserError: if a score is not finite.
        """
        seen, parts = [torch.empty(0, dtype=torch.int64)], defaultdict(list)
        for index, scores in self._shards.gathered(self._scored(images)):
            seen.append(index)
            for kind, values in scores.items():
                parts[kind].append(values)
        return torch.cat(seen), [Score(kind, _finite(kind, torch.cat(part))) for kind, part in parts.items()]

    @torch.no_grad()
    def _calibration_statistics(self, program: ProgramScores, images: ImageSet) -> dict[str, Tensor]:
        return gathered_statistics(self._statistics(program, images), self._shards)

    def _statistics(self, program: ProgramScores, images: ImageSet) -> Iterator[Part]:
        for index, views in self._batches(images, 0):
            z = self._embedder.embed(views[0]).float().unsqueeze(0)
            yield index, program.calibration_statistics(z, self._infer(z), index)

    def _scored(self, images: ImageSet) -> Iterator[Part]:
        for index, views in self._batches(images, self._options.augmentations):
            z = torch.stack([self._embedder.embed(view).float() for view in views])
            posterior = self._infer(z)
            scores = {} if self._program is None else self._program(z, posterior, index)
            scores |= {} if self._density is None else self._density(z)
            scores |= self._distances(z, posterior)
            if not isinstance(images, FeatureViews):
                scores[COMPLEXITY_KIND] = complexity(views[0], self._augment.evaluation.normalize)
            wanted = (kind for kind in scores if kind == COMPLEXITY_KIND or self._options.wants(kind.family))
            yield index, {kind: scores[kind].double() for kind in wanted}

    def _infer(self, z: Float[Tensor, "V N D"]) -> Any:
        posterior = self._embedder.infer(z.flatten(0, 1))
        return None if posterior is None else map_posterior(posterior, lambda one: one.unflatten(0, z.shape[:2]))

    def _batches(self, images: ImageSet, augmentations: int) -> Iterator[tuple[Tensor, list[Tensor]]]:
        """Yield this process's share, in groups of blocks that `batch_size` and memory allow."""
        views, options = 1 + augmentations, self._options
        room = min(options.batch_size, 4 * LARGEST // (options.samples * views * self._embedder.dim))
        together = max(1, room // BLOCK)
        seed = stream_seed(options.seed, Stream.SCORE_VIEWS)
        share = self._shards.share(together)
        blocks = evaluation_views(images, self._augment, views=views - 1, seed=seed, device=self._device, share=share)
        for _, group in groupby(blocks, lambda block: int(block[0][0]) // (BLOCK * together)):
            yield _joined(list(group))

    def _distances(self, z: Float[Tensor, "V N D"], posterior: Any) -> Scores:
        flat = None if posterior is None else map_posterior(posterior, lambda one: one.flatten(0, 1))
        found: Scores = {}
        for features, values in self._embedder.with_mean(z.flatten(0, 1), flat).items() if self._to_training else ():
            distances = self._to_training[features]
            for name, distance in distances(values).items():
                by_view = distance.double().unflatten(0, z.shape[:2])
                for views, numbers in single_views(len(z)).items():
                    kind = distances.kind(name, features, views, sum(number > 0 for number in numbers))
                    found[kind] = by_view[numbers].mean(0)
        return found


def gathered_statistics(parts: Iterator[Part], shards: Shards) -> dict[str, Tensor]:
    """Return statistics of calibration images from all processes, in every process."""
    found = defaultdict(list)
    for _, values in shards.gathered(parts):
        for name, value in values.items():
            found[name].append(value)
    joined = {name: torch.cat(parts) for name, parts in found.items()}
    return shards.everywhere(joined if shards.is_first else None)


def distance_scores(distances: Distances, images: Shaped[Tensor, "N ..."], features: str, encoder: str) -> list[Score]:
    """Score features by distance alone: raw pixels, or those of an untrained encoder.

    Args:
        distances: from the features of training images.
        images: features of the images to score.
        features: their name.
        encoder: their encoder.
    """
    scores = distances(images).items()
    kinds = {name: distances.kind(name, features, CLEAN, 0, encoder) for name, _ in scores}
    return [Score(kinds[name], _finite(kinds[name], values.double().cpu())) for name, values in scores]


def _joined(blocks: list[tuple[Tensor, list[Tensor]]]) -> tuple[Tensor, list[Tensor]]:
    indices, views = zip(*blocks, strict=True)
    return torch.cat(indices), [torch.cat(view) for view in zip(*views, strict=True)]


def _finite(kind: ScoreKind, values: Tensor) -> np.ndarray:
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise UserError(
            f"The score {kind.name} of {bad} of {len(values)} images is not finite, so it cannot rank images; train "
            f"with a "
            "lower optimizer.lr, or look closer with debug=true."
        )
    return values.numpy()


Scored = tuple[Int64[Tensor, " N"], list[Score]]


def score_options(options: DictConfig) -> ScoreOptions:
    """Return the options of `configs/evaluate.yaml`, checked."""
    scores = options.scores
    made = ScoreOptions(
        samples=scores.samples,
        pairs=scores.pairs,
        views=tuple(scores.views),
        aggregate_images=scores.aggregate.images,
        aggregate_samples=scores.aggregate.samples,
        evidence_samples=scores.evidence.samples,
        rank_draws=scores.rank_draws,
        regret_steps=scores.regret.steps,
        neighbours=scores.neighbours,
        only=None if scores.only is None else tuple(as_list(scores.only)),
        seed=options.seed,
        batch_size=options.batch_size,
    )
    made.kinds  # noqa: B018 (an unknown kind of views is an error)
    if made.only is not None:
        check_names("scores.only", made.only, NAMES)
    return made


def scorer(evaluated: OpenedRun) -> Callable[[ImageSet], Scored]:
    """Prepare all scores of a run from its training images.

    If several processes share the work, all of them call it, and only the first gets scores.

    If the run's training images were rotated, so are all images here, and a score is the mean over the rotations.

    Returns:
        A function that scores a set of images.
    """
    options, turned = score_options(evaluated.options), evaluated.turned
    training = at_most(turned(evaluated.data.train), evaluated.options.scores.bank)
    shards, references = evaluated.shards, {}
    bank = shards.everywhere(evaluated.features(evaluated.embedder, training).by_name)
    if any(map(options.wants, DISTANCES)):
        untrained = evaluated.features(evaluated.untrained, training).by_name["z"]
        banks = {("untrained", "z"): untrained, ("none", "pixels"): evaluated.pixels(training).by_name["pixels"]}
        if shards.is_first:
            neighbours, device = options.neighbours, evaluated.device
            references = {of: Distances(features, neighbours, device) for of, features in banks.items()}
    of_program = AnomalyScorer(
        evaluated.embedder,
        evaluated.augment,
        bank,
        options,
        evaluated.device,
        shards,
        augmented=augmented_training(evaluated, training, options),
        calibration=None if evaluated.calibration is None else turned(evaluated.calibration),
    )

    def score(images: ImageSet) -> Scored:
        images = turned(images)
        index, scores = of_program(images)
        features = {}
        if any(map(options.wants, DISTANCES)):
            features["untrained"] = evaluated.features(evaluated.untrained, images).by_name["z"]
            features["none"] = evaluated.pixels(images).by_name["pixels"]
        if not shards.is_first:
            return index, []
        for (encoder, name), distances in references.items():
            scores += distance_scores(distances, features[encoder], name, encoder)
        wanted = (score.kind == COMPLEXITY_KIND or options.wants(score.kind.family) for score in scores)
        scores = [score for score, is_wanted in zip(scores, wanted, strict=True) if is_wanted]
        if evaluated.data.rotations:
            index = index[::TURNS] // TURNS
            scores = [Score(score.kind, mean_over_rotations(score.values)) for score in scores]
        return index, scores

    return score


def augmented_training(evaluated: OpenedRun, training: ImageSet, options: ScoreOptions) -> Tensor | None:
    """Return embeddings of one random view of each training image, in every process; None if no score needs them."""
    if evaluated.embedder.program is None or not options.augmentations or not options.wants(JOINT):
        return None
    shards, embed = evaluated.shards, evaluated.embedder.embed
    seed = stream_seed(options.seed, Stream.TRAINING_VIEWS)
    blocks = evaluation_views(
        training, evaluated.augment, views=1, seed=seed, device=evaluated.device, share=shards.share()
    )
    with torch.no_grad():
        parts = shards.gathered((index, {"z": embed(views[1]).float()}) for index, views in blocks)
        found = [part["z"] for _, part in parts]
    return shards.everywhere({"z": torch.cat(found)} if shards.is_first else None)["z"]
