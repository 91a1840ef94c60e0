"""Anomaly scores of a probability model; `kinds` has their names and formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from vje_ppl.measures.anomaly.conditional_densities import draw_latents, log_mixture
from vje_ppl.measures.anomaly.evidence import Evidence
from vje_ppl.measures.anomaly.joint import Joint
from vje_ppl.measures.anomaly.kinds import (
    AGGREGATE,
    EVIDENCE,
    JOINT,
    KL,
    LOG_PRECISION,
    REGRET,
    SURPRISE,
    SURPRISE_RANK,
    TYPICALITY,
    UNCERTAINTY,
    ScoreKind,
)
from vje_ppl.measures.anomaly.program_terms import ProgramTerms, Scores, program_terms
from vje_ppl.measures.anomaly.regret import Regret
from vje_ppl.measures.anomaly.surprise_rank import SurpriseRank
from vje_ppl.measures.anomaly.traced import map_posterior
from vje_ppl.measures.anomaly.typicality import Typicality, statistics
from vje_ppl.measures.anomaly.view_pairs import CLEAN_CLEAN, ScoreOptions, single_views, view_pairs
from vje_ppl.methods.joint_embedding import JointEmbedding
from vje_ppl.methods.method import PredictiveDensity, UncertainDensity
from vje_ppl.parallel.randomness import Stream, stream_seed


class ProgramScores:
    """Scores of images under a program, for some of them with its training images.

    Args:
        program: guide and model, in evaluation mode.
        training: embeddings of training images without augmentation, (M, D), on the program's device; None leaves
            out the scores that need them: `aggregate`, `joint`, `evidence` and `typicality`.
        options: numbers of views and draws.
        augmented: embeddings of one random view of each training image, for `joint`, (M, D).
    """

    @torch.no_grad()
    def __init__(
        self,
        program: JointEmbedding,
        training: Float[Tensor, "M D"] | None,
        options: ScoreOptions,
        augmented: Float[Tensor, "M D"] | None = None,
    ) -> None:
        self._program, self._options, self._reported = program, options, options.kinds
        # Computed even if not reported, for scores of the image without augmentation.
        missing = not any(kind.kind == CLEAN_CLEAN for kind in self._reported)
        self._kinds = [*(view_pairs([CLEAN_CLEAN], 1) if missing else ()), *self._reported]
        self._aggregate: _Aggregate | None = None
        self._joint: Joint | None = None
        self._evidence: Evidence | None = None
        if training is not None:
            self._device = training.device
            self._aggregate = _Aggregate(program, training, options) if options.wants(AGGREGATE) else None
            has_marginal = options.wants(JOINT) or options.wants(TYPICALITY)
            self._joint = Joint(training, augmented, training.device) if has_marginal else None
            self._evidence = Evidence(program, training, options.evidence_samples) if options.wants(EVIDENCE) else None
        has_regret = options.regret_steps > 0 and options.wants(REGRET)
        self._regret = Regret(program, options.regret_steps, options.seed) if has_regret else None
        self._typicality: Typicality | None = None
        self._surprise_rank = SurpriseRank(program, options.rank_draws, options.seed)

    @torch.no_grad()
    def __call__(self, z: Float[Tensor, "V N D"], posterior: Any, images: Int64[Tensor, " N"]) -> Scores:
        """Score N images.

        Args:
            z: embeddings of their views; the first view is without augmentation.
            posterior: the views' posteriors, tensors of shape (V, N, ...).
            images: their places in the set, shape (N,).

        Returns:
            Values (N,) in float64 by kind.
        """
        seed = stream_seed(self._options.seed, Stream.SCORE_DRAWS)
        terms = program_terms(self._program, z, posterior, images, self._kinds, self._options.samples, seed)
        found = self._of_pairs(terms) | _of_single_views(terms)
        if self._aggregate is not None:
            found |= self._aggregate(z[0])
        if self._joint is not None and self._options.wants(JOINT):
            found |= self._joint(terms, self._reported)
        if self._evidence is not None:
            found |= self._evidence(terms)
        if self._options.wants(SURPRISE_RANK):
            found |= self._surprise_rank(terms, self._reported)
        if self._regret is not None:
            found |= self._regret(terms)
        if self._typicality is not None and self._joint is not None:
            found |= self._typicality(statistics(terms, self._joint.clean))
        return found

    @torch.no_grad()
    def calibration_statistics(
        self, z: Float[Tensor, "1 N D"], posterior: Any, images: Int64[Tensor, " N"]
    ) -> dict[str, Float64[Tensor, " N"]]:
        """Return the statistics of calibration images without augmentation, with draws of their own."""
        assert self._joint is not None
        kinds, seed = view_pairs([CLEAN_CLEAN], 1), stream_seed(self._options.seed, Stream.CALIBRATION_DRAWS)
        terms = program_terms(self._program, z, posterior, images, kinds, self._options.samples, seed)
        return statistics(terms, self._joint.clean)

    def calibrate(self, found: dict[str, Float64[Tensor, " C"]]) -> None:
        """Report `typicality` from here on, by the statistics of C calibration images."""
        if self._options.wants(TYPICALITY):
            self._typicality = Typicality(found, self._device)

    def _of_pairs(self, terms: ProgramTerms) -> Scores:
        return {
            ScoreKind(name, kind.kind, kind.augmentations, samples=terms.samples, pairs=kind.pairs): values
            for kind in self._reported
            for name, values in terms.pairs[kind.kind].scores.items()
        }


def _of_single_views(terms: ProgramTerms) -> Scores:
    found: Scores = {}
    for views, numbers in single_views(len(terms.z)).items():
        augmentations = sum(number > 0 for number in numbers)
        kl = torch.stack([terms.kl[number] for number in numbers])
        found[ScoreKind(KL, views, augmentations)] = kl.mean(0)
        found[ScoreKind(LOG_PRECISION, views, augmentations)] = terms.log_precision[numbers].mean(0)
    return found


class _Aggregate:
    """The mixture of the predictive densities of some training images."""

    def __init__(self, program: JointEmbedding, training: Float[Tensor, "M D"], options: ScoreOptions) -> None:
        chosen = np.sort(np.random.default_rng(0).permutation(len(training))[: options.aggregate_images])
        index = torch.from_numpy(chosen)
        training = training[index.to(training.device)]
        self._program, self._posterior = program, program.guide.infer(training)
        self._kind = ScoreKind(AGGREGATE, samples=options.aggregate_samples, training_images=len(training))
        alone = map_posterior(self._posterior, lambda one: one.unsqueeze(0))
        seed = stream_seed(options.seed, Stream.AGGREGATE_DRAWS)
        self._latents = draw_latents(program, alone, training.unsqueeze(0), options.aggregate_samples, seed, index)

    def __call__(self, z: Float[Tensor, "N D"]) -> Scores:
        return {self._kind: -log_mixture(self._program, self._posterior, self._latents, z)}


class DensityScores:
    """Scores of images under a predictive density.

    Args:
        density: the method's, in evaluation mode.
        options: numbers of views.
    """

    def __init__(self, density: PredictiveDensity, options: ScoreOptions) -> None:
        self._density, self._kinds = density, options.kinds

    @torch.no_grad()
    def __call__(self, z: Float[Tensor, "V N D"]) -> Scores:
        """Score N images.

        Args:
            z: embeddings of their views; the first view is without augmentation.

        Returns:
            Values (N,) in float64 by kind: averaged over ordered pairs of views, or over views.
        """
        found: Scores = {}
        for kind in self._kinds:
            values = [self._density.surprise(z[source], z[target]).double() for source, target in kind.ordered]
            found[ScoreKind(SURPRISE, kind.kind, kind.augmentations, pairs=kind.pairs)] = torch.stack(values).mean(0)
        if not isinstance(self._density, UncertainDensity):
            return found
        by_view = torch.stack([self._density.uncertainty(view).double() for view in z])
        for views, numbers in single_views(len(z)).items():
            kind_of_view = ScoreKind(UNCERTAINTY, views, sum(number > 0 for number in numbers))
            found[kind_of_view] = by_view[numbers].mean(0)
        return found
