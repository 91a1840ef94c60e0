"""A program's terms on the views of some images, from which its scores are computed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from vje_ppl.measures.anomaly.conditional_densities import LARGEST, draw_latents, pair_terms
from vje_ppl.measures.anomaly.kinds import CONDITIONAL, PREDICTIVE, ScoreKind
from vje_ppl.measures.anomaly.traced import map_posterior
from vje_ppl.measures.anomaly.view_pairs import ViewPairs
from vje_ppl.methods.joint_embedding import JointEmbedding

Scores = dict[ScoreKind, Tensor]


@dataclass(frozen=True, eq=False)
class PairValues:
    """Terms of one kind of pairs of views, in nats.

    Attributes:
        kind: the ordered pairs.
        scores: means over the ordered pairs, higher = more anomalous: `conditional`, `conditional/<site>` of each site,
            `predictive`; shape (N,) each.
        predictive: log p(z_b | z_a) of each ordered pair, log of the mean over draws of q_a, shape (P, N).
    """

    kind: ViewPairs
    scores: dict[str, Float64[Tensor, " N"]]
    predictive: Float64[Tensor, "P N"]


@dataclass(frozen=True, eq=False)
class ProgramTerms:
    """A program's terms on V views of N images, the first without augmentation.

    Attributes:
        z: embeddings, shape (V, N, D).
        posterior: the views' posteriors, tensors of shape (V, N, ...).
        images: the images' places in their set, shape (N,).
        latents: posterior draws by site, (S, V, N, ...).
        pairs: terms by kind of pairs.
        kl: KL(q ‖ prior) of the views that are the source of a pair, in nats, by view, (N,) each.
        log_precision: −½ Σ log σ² of every view, shape (V, N).
    """

    z: Float[Tensor, "V N D"]
    posterior: Any
    images: Int64[Tensor, " N"]
    latents: dict[str, Tensor]
    pairs: dict[str, PairValues]
    kl: dict[int, Float64[Tensor, " N"]]
    log_precision: Float64[Tensor, "V N"]

    @property
    def samples(self) -> int:
        """Posterior draws S of a view."""
        return len(next(iter(self.latents.values())))


def program_terms(
    program: JointEmbedding,
    z: Float[Tensor, "V N D"],
    posterior: Any,
    images: Int64[Tensor, " N"],
    kinds: Sequence[ViewPairs],
    samples: int,
    seed: int,
) -> ProgramTerms:
    """Draw from all views' posteriors, and evaluate the program.

    Args:
        program: guide and model, in evaluation mode.
        z: embeddings of the views.
        posterior: their posteriors, tensors of shape (V, N, ...).
        images: the images' places in their set.
        kinds: the pairs of views to evaluate.
        samples: S.
        seed: of the draws.
    """
    latents = draw_latents(program, posterior, z, samples, seed, images)
    pairs: dict[str, PairValues] = {}
    kl: dict[int, Tensor] = {}
    for kind in kinds:
        pairs[kind.kind], divergences = _of_pairs(program, kind, z, posterior, latents)
        kl |= {source: one for (source, _), one in zip(kind.ordered, divergences, strict=True)}
    log_precision = -posterior.scale.double().log().sum(-1)
    return ProgramTerms(z, posterior, images, latents, pairs, kl, log_precision)


def _of_pairs(
    program: JointEmbedding, kind: ViewPairs, z: Tensor, posterior: Any, latents: dict[str, Tensor]
) -> tuple[PairValues, Tensor]:
    """Return terms of a kind of pairs, and the KL of the source of each ordered pair, (P, N)."""
    sources, targets = (list(views) for views in zip(*kind.ordered, strict=True))
    samples = len(next(iter(latents.values())))
    at_once = max(1, LARGEST // (samples * z[0].numel()))
    sums: dict[str, Tensor] = defaultdict(lambda: z.new_zeros(z.shape[1], dtype=torch.float64))
    divergences, predictive = [], []
    for start in range(0, len(sources), at_once):
        a, b = sources[start : start + at_once], targets[start : start + at_once]
        terms = pair_terms(
            program,
            map_posterior(posterior, lambda one: one[a]),  # noqa: B023
            z[b],
            {name: value[:, a] for name, value in latents.items()},
        )
        sites = {name: term.double() for name, term in terms.log_likelihood.items()}
        together = torch.stack(list(sites.values())).sum(0)
        for name, term in sites.items():
            sums[f"{CONDITIONAL}/{name}"] -= term.mean(0).sum(0)
        sums[CONDITIONAL] -= together.mean(0).sum(0)
        predictive.append(together.logsumexp(0) - np.log(samples))
        sums[PREDICTIVE] -= predictive[-1].sum(0)
        divergences.append(terms.kl.double())
    names = sorted(sums, key=lambda name: (name.count("/"), name))  # the sum before its parts
    scores = {name: sums[name] / len(sources) for name in names}
    return PairValues(kind, scores, torch.cat(predictive)), torch.cat(divergences)
