"""One score of images, from their views."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from vje_ppl.data.augment import Augment
from vje_ppl.data.batches import BLOCK
from vje_ppl.data.rotations import TURNS, mean_over_rotations
from vje_ppl.errors import UserError
from vje_ppl.features.embedder import Embedder
from vje_ppl.features.shards import WHOLE, Part, Shards
from vje_ppl.measures.anomaly.conditional_densities import LARGEST, map_posterior
from vje_ppl.measures.anomaly.distances import Distances
from vje_ppl.measures.anomaly.kinds import SURPRISE, UNCERTAINTY
from vje_ppl.measures.anomaly.program_scores import DensityScores, ProgramScores, Scores
from vje_ppl.measures.anomaly.scorer import gathered_statistics
from vje_ppl.measures.anomaly.view_pairs import single_views
from vje_ppl.methods.method import UncertainDensity
from vje_ppl.parallel.randomness import Stream, stream_seed
from vje_ppl.score.reading import Block, Source, block_views
from vje_ppl.score.setting import OF_DENSITY, OF_PROGRAM, ScoreSetting
from vje_ppl.score.training_side import TrainingSide


@dataclass(frozen=True, eq=False)
class ScoredChunk:
    """Consecutive images of a set.

    Attributes:
        first: the place of the first of them.
        scores: a value per image, higher = more anomalous; NaN for an image without a score.
        reasons: why images have no score, by place.
    """

    first: int
    scores: Float64[np.ndarray, " n"]
    reasons: dict[int, str] = field(default_factory=dict)


class ImageScorer:
    """Computes one score; a score depends on the image, its place in its set and the seed, not on other images.

    Args:
        embedder: encoder and, if the method has one, program or density.
        augment: makes the views.
        setting: the score.
        training: what the score needs of the training images.
        device: the device.
        batch_size: images to embed at once, about.
        rotations: whether the images come in four rotations each, over which a score is the mean.

    Attributes:
        chunk: images that are scored together, which changes scores by rounding only.
        rotations: as given.
        seed: of the random views.

    Raises:
        UserError: if the method does not have the score.
    """

    def __init__(
        self,
        embedder: Embedder,
        augment: Augment,
        setting: ScoreSetting,
        training: TrainingSide,
        device: torch.device,
        batch_size: int,
        rotations: bool = False,
    ) -> None:
        check_method(embedder, setting)
        self._embedder, self._augment, self._setting, self._device = embedder, augment, setting, device
        self._batch_size = batch_size
        self.seed = stream_seed(setting.seed or 0, Stream.SCORE_VIEWS)
        views = 1 + setting.augmentations
        room = min(batch_size, 4 * LARGEST // ((setting.samples or 1) * views * embedder.dim))
        self._together = max(1, room // BLOCK)
        self.rotations, self._turns = rotations, TURNS if rotations else 1
        self.chunk = self._together * BLOCK // self._turns
        self._distance: Callable[[Tensor], Tensor] | None = None
        self._scores: Callable[[Tensor, Any, Tensor], Scores] | None = None
        self._program: ProgramScores | None = None
        options = setting.options()
        if setting.is_distance:
            self._distance = _distance(setting, training, device)
        elif setting.kind in OF_DENSITY:
            assert embedder.density is not None
            of_density = DensityScores(embedder.density, options)
            self._scores = lambda z, posterior, places: of_density(z)
        else:
            assert embedder.program is not None
            features, augmented = (
                None if one is None else one.to(device) for one in (training.features, training.augmented)
            )
            self._program = ProgramScores(embedder.program, features, options, augmented)
            self._scores = self._program

    def _chunks(self, images: Source) -> int:
        """Return the number of chunks of a set."""
        return -(-len(images) // (self._together * BLOCK))

    def score(self, images: Source, first: int = 0, shards: Shards = WHOLE) -> Iterator[ScoredChunk]:
        """Score images, chunk by chunk.

        Args:
            images: the images, as `Prepared` returns them.
            first: number of chunks to leave out at the start.
            shards: the processes that share the work; each has to iterate to the end.

        Yields:
            All chunks in order, in the first process; nothing in the others.
        """
        mine = [number + first for number in shards.share().of(self._chunks(images) - first)]
        for places, found in shards.gathered(self._parts(images, mine)):
            reasons = json.loads(bytes(found["reasons"].tolist()))
            scores = found["scores"].numpy()
            yield ScoredChunk(
                int(places[0]) // self._turns,
                scores if self._turns == 1 else mean_over_rotations(scores),
                {int(place) // self._turns: text for place, text in reasons.items()},
            )

    def fit_typicality(self, images: Source, shards: Shards = WHOLE) -> None:
        """Fit `typicality` to normal images that the run has not learned from; every process has to call it.

        Raises:
            UserError: if none of them can be read.
        """
        assert self._program is not None
        found = gathered_statistics(self._statistics(images, shards), shards)
        if not found:
            raise UserError(
                f"None of the {len(images)} images that score={self._setting.name} is fitted to can be read; restore "
                "them, or give another score."
            )
        self._program.calibrate(found)

    @torch.no_grad()
    def _statistics(self, images: Source, shards: Shards) -> Iterator[Part]:
        assert self._program is not None
        for block in images.blocks(shards.share().of(-(-len(images) // BLOCK))):
            if not len(block.read):
                continue
            z = self._embed(block_views(block, images, self._augment, self.seed, 0, self._device)[0]).unsqueeze(0)
            posterior = map_posterior(self._embedder.infer(z[0]), lambda one: one.unsqueeze(0))
            places = torch.from_numpy(block.places)[block.read]
            yield places, self._program.calibration_statistics(z, posterior, places)

    def _parts(self, images: Source, chunks: list[int]) -> Iterator[Part]:
        last = -(-len(images) // BLOCK)
        numbers = [
            block
            for chunk in chunks
            for block in range(chunk * self._together, min((chunk + 1) * self._together, last))
        ]
        blocks = images.blocks(numbers)
        for chunk in chunks:
            start = chunk * self._together
            count = min(start + self._together, last) - start
            yield self._part(images, [next(blocks) for _ in range(count)])
        for _ in blocks:  # so that the workers end
            raise AssertionError("a source yields the blocks that were asked for")

    @torch.no_grad()
    def _part(self, images: Source, blocks: list[Block]) -> Part:
        places = np.concatenate([block.places for block in blocks])
        scores = torch.full((len(places),), torch.nan, dtype=torch.float64)
        reasons: dict[int, str] = {}
        rows, views = [], []
        for block in blocks:
            start = int(block.places[0] - places[0])
            missing = np.setdiff1d(np.arange(len(block.places)), block.read.numpy())
            reasons |= dict(zip(block.places[missing].tolist(), block.reasons, strict=True))
            if len(block.read):
                rows.append(block.read + start)
                augmentations = self._setting.augmentations
                views.append(block_views(block, images, self._augment, self.seed, augmentations, self._device))
        if rows:
            index = torch.cat(rows)
            together = [torch.cat(view) for view in zip(*views, strict=True)]
            values = self._values(together, torch.from_numpy(places)[index] + images.offset).double().cpu()
            scores[index] = values.masked_fill(~torch.isfinite(values), torch.nan)
        for place in places[torch.isnan(scores).numpy()].tolist():
            reasons.setdefault(place, "its score is not finite")
        text = json.dumps(reasons).encode()
        return torch.from_numpy(places), {"scores": scores, "reasons": torch.tensor(list(text), dtype=torch.uint8)}

    def _values(self, views: list[Tensor], places: Int64[Tensor, " N"]) -> Float[Tensor, " N"]:
        """Score the views of images."""
        z = torch.stack([self._embed(view) for view in views])
        flat = z.flatten(0, 1)
        needs_posterior = self._setting.features != "z" and self._setting.kind not in OF_DENSITY
        posterior = self._embedder.infer(flat) if needs_posterior else None
        if self._distance is not None:
            features = self._embedder.with_mean(flat, posterior)[self._setting.features or "z"]
            by_view = self._distance(features).double().unflatten(0, z.shape[:2])
            return by_view[single_views(len(z))[self._setting.views]].mean(0)
        assert self._scores is not None
        if posterior is not None:
            posterior = map_posterior(posterior, lambda one: one.unflatten(0, z.shape[:2]))
        found = self._scores(z, posterior, places)
        for kind, values in found.items():
            if (kind.name, kind.views) == (self._setting.name, self._setting.views):
                return values
        known = dict.fromkeys(kind.name for kind in found)
        raise UserError(f"score={self._setting.name} is none of the run's scores, which are {', '.join(known)}.")

    def _embed(self, view: Float[Tensor, "N C S S"]) -> Float[Tensor, "N D"]:
        return torch.cat([self._embedder.embed(part).float() for part in view.split(self._batch_size)])


def check_method(embedder: Embedder, setting: ScoreSetting) -> None:
    """Refuse a score that a method does not have.

    Raises:
        UserError: if it does not.
    """
    needs = None
    if setting.kind in OF_PROGRAM and embedder.program is None:
        needs = "a method that is a probabilistic program, such as method=vje"
    elif setting.kind == SURPRISE and embedder.density is None:
        needs = "method=vi_simsiam, lejepa or visreg"
    elif setting.kind == UNCERTAINTY and not isinstance(embedder.density, UncertainDensity):
        needs = "method=vi_simsiam"
    elif setting.features == "mu" and embedder.program is None:
        raise UserError("features=mu needs a posterior, which the run's method does not have; give features=z.")
    if needs is not None:
        raise UserError(f"score={setting.name} needs {needs}, which the run is not; give score=mahalanobis, or others.")


def _distance(setting: ScoreSetting, training: TrainingSide, device: torch.device) -> Callable[[Tensor], Tensor]:
    if training.gaussian is not None:
        return training.gaussian
    assert training.features is not None
    distances = Distances(training.features, setting.neighbours or 1, device)
    return lambda features: distances(features)[setting.kind]
