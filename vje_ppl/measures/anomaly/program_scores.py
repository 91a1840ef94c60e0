"""Anomaly scores of a probability model; `kinds` has their names and formulas."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vje_ppl.measures.anomaly.conditional_densities import LARGEST, draw_latents, log_mixture, map_posterior, pair_terms
from vje_ppl.measures.anomaly.kinds import (
    AGGREGATE,
    CONDITIONAL,
    KL,
    LOG_PRECISION,
    PREDICTIVE,
    SURPRISE,
    UNCERTAINTY,
    ScoreKind,
)
from vje_ppl.measures.anomaly.view_pairs import CLEAN_CLEAN, ScoreOptions, ViewPairs, single_views, view_pairs
from vje_ppl.methods.joint_embedding import JointEmbedding
from vje_ppl.methods.method import PredictiveDensity
from vje_ppl.randomness import Stream, stream_seed

Scores = dict[ScoreKind, Tensor]


class ProgramScores:
    """Scores of images under a program and, for `aggregate`, its training images.

    Args:
        program: guide and model, in evaluation mode.
        training: embeddings of training images without augmentation, (M, D), on the program's device; None leaves
            out `aggregate`.
        options: numbers of views and draws.
    """

    @torch.no_grad()
    def __init__(self, program: JointEmbedding, training: Float[Tensor, "M D"] | None, options: ScoreOptions) -> None:
        self._program, self._options, self._reported = program, options, options.kinds
        # Computed even if not reported, for the KL of the image without augmentation.
        missing = not any(kind.kind == CLEAN_CLEAN for kind in self._reported)
        self._kinds = [*(view_pairs([CLEAN_CLEAN], 1) if missing else ()), *self._reported]
        self._latents: dict[str, Tensor] | None = None
        if training is None:
            return
        chosen = np.sort(np.random.default_rng(0).permutation(len(training))[: options.aggregate_images])
        index = torch.from_numpy(chosen)
        training = training[index.to(training.device)]
        self._posterior, self._training_images = program.guide.infer(training), len(training)
        alone = map_posterior(self._posterior, lambda one: one.unsqueeze(0))
        seed = stream_seed(options.seed, Stream.AGGREGATE_DRAWS)
        self._latents = draw_latents(program, alone, training.unsqueeze(0), options.aggregate_samples, seed, index)

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
        latents = draw_latents(self._program, posterior, z, self._options.samples, seed, images)
        found: Scores = {}
        kl: dict[int, Tensor] = {}
        for kind in self._kinds:
            values, divergences = self._of_pairs(kind, z, posterior, latents)
            kl |= {source: one for (source, _), one in zip(kind.ordered, divergences, strict=True)}
            if kind in self._reported:
                found |= self._named(kind, values)
        log_precision = -posterior.scale.double().log().sum(-1)
        for views, numbers in single_views(len(z)).items():
            augmentations = sum(number > 0 for number in numbers)
            found[ScoreKind(KL, views, augmentations)] = torch.stack([kl[number] for number in numbers]).mean(0)
            found[ScoreKind(LOG_PRECISION, views, augmentations)] = log_precision[numbers].mean(0)
        if self._latents is None:
            return found
        aggregate = ScoreKind(AGGREGATE, samples=self._options.aggregate_samples, training_images=self._training_images)
        found[aggregate] = -log_mixture(self._program, self._posterior, self._latents, z[0])
        return found

    def _of_pairs(
        self, kind: ViewPairs, z: Tensor, posterior: Any, latents: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return scores (N,) of a kind of pairs by name, and the KL of the source of each ordered pair, (P, N)."""
        sources, targets = (list(views) for views in zip(*kind.ordered, strict=True))
        at_once = max(1, LARGEST // (self._options.samples * z[0].numel()))
        sums: dict[str, Tensor] = defaultdict(lambda: z.new_zeros(z.shape[1], dtype=torch.float64))
        divergences = []
        for start in range(0, len(sources), at_once):
            a, b = sources[start : start + at_once], targets[start : start + at_once]
            terms = pair_terms(
                self._program,
                map_posterior(posterior, lambda one: one[a]),  # noqa: B023
                z[b],
                {name: value[:, a] for name, value in latents.items()},
            )
            sites = {name: term.double() for name, term in terms.log_likelihood.items()}
            together = torch.stack(list(sites.values())).sum(0)
            for name, term in sites.items():
                sums[f"{CONDITIONAL}/{name}"] -= term.mean(0).sum(0)
            sums[CONDITIONAL] -= together.mean(0).sum(0)
            sums[PREDICTIVE] -= (together.logsumexp(0) - np.log(len(together))).sum(0)
            divergences.append(terms.kl.double())
        return {name: total / len(sources) for name, total in sums.items()}, torch.cat(divergences)

    def _named(self, kind: ViewPairs, values: dict[str, Tensor]) -> Scores:
        samples = self._options.samples
        names = sorted(values, key=lambda name: (name.count("/"), name))  # the sum before its parts
        return {
            ScoreKind(name, kind.kind, kind.augmentations, samples=samples, pairs=kind.pairs): values[name]
            for name in names
        }


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
        by_view = torch.stack([self._density.uncertainty(view).double() for view in z])
        for views, numbers in single_views(len(z)).items():
            kind_of_view = ScoreKind(UNCERTAINTY, views, sum(number > 0 for number in numbers))
            found[kind_of_view] = by_view[numbers].mean(0)
        return found
