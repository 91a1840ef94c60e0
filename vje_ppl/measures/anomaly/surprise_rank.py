"""`surprise_rank`: how many of the program's own draws of a view are likelier than the view."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from pyro import poutine
from torch import Tensor

from vje_ppl.data.batches import BLOCK
from vje_ppl.measures.anomaly.conditional_densities import LARGEST, draw_latents, draw_observations
from vje_ppl.measures.anomaly.kinds import SURPRISE_RANK, ScoreKind
from vje_ppl.measures.anomaly.program_terms import PairValues, ProgramTerms, Scores
from vje_ppl.measures.anomaly.traced import Given, in_plates, log_prob, map_posterior
from vje_ppl.measures.anomaly.view_pairs import KINDS, ViewPairs
from vje_ppl.methods.joint_embedding import JointEmbedding
from vje_ppl.parallel.randomness import Stream, stream_seed


class SurpriseRank:
    """A conditional probability integral transform of the density of view b given view a; higher = more anomalous:

        the share of draws y ~ p(· | z_a) with log p(y | z_a) > log p(z_b | z_a),    averaged over ordered pairs a→b

    A draw takes a new latent from q_a, and the program's observed sites given it and the scale σ_a. Both densities are
    estimated as in `predictive`, from the same S other draws of q_a. So the rank of a z_b that the program had drawn is
    uniform, whatever S and whatever the scale, whose part in the density cancels. Near 1, the view is less likely than
    nearly all draws.

    With R draws of which h are likelier and e equally likely, the share is the mid-rank (h + (e + 1)/2)/(R + 1), which
    never is 0 or 1. The draws of a kind of pairs are spread evenly over its source views, and all targets of a source
    are compared with the same draws; the mean over the pairs is finer than the rank of one of them. If all images
    are beyond the draws, the score cannot order them.

    The sites are drawn from their own densities: a direction of the Student-t on R^D lies off the sphere, where no
    target lies, and the rank shows that too.

    Args:
        program: guide and model, in evaluation mode.
        draws: of an image for each kind of pairs, at least.
        seed: of the evaluation.

    Source: the probability integral transform of a density's own value, as in highest-density regions (Hyndman, 1996);
    as a score: ours.
    """

    def __init__(self, program: JointEmbedding, draws: int, seed: int) -> None:
        self._program, self._draws, self._seed = program, draws, seed

    def __call__(self, terms: ProgramTerms, kinds: list[ViewPairs]) -> Scores:
        """Score N images; nothing if a distribution of the likelihood cannot be drawn from."""
        try:
            return dict(self._scored(terms, terms.pairs[kind.kind]) for kind in kinds)
        except NotImplementedError:
            return {}

    def _scored(self, terms: ProgramTerms, pairs: PairValues) -> tuple[ScoreKind, Float64[Tensor, " N"]]:
        kind, by_source = pairs.kind, defaultdict(list)
        for place, (source, _) in enumerate(pairs.kind.ordered):
            by_source[source].append(place)
        sources, each = list(by_source), math.ceil(self._draws / len(by_source))
        drawn = self._densities_of_draws(terms, kind.kind, sources, each)
        total = torch.zeros_like(pairs.predictive[0])
        for place, source in enumerate(sources):
            for target in by_source[source]:
                total += mid_rank(drawn[place], pairs.predictive[target])
        row = ScoreKind(
            SURPRISE_RANK,
            kind.kind,
            kind.augmentations,
            samples=terms.samples,
            pairs=kind.pairs,
            draws=each * len(sources),
        )
        return row, total / len(kind.ordered)

    def _densities_of_draws(
        self, terms: ProgramTerms, kind: str, sources: list[int], draws: int
    ) -> Float64[Tensor, "A R N"]:
        """Return log p(y | z_a) of R draws y of the program given each of A source views."""
        posterior = map_posterior(terms.posterior, lambda one: one[sources])
        number = KINDS.index(kind)
        seed = stream_seed(self._seed, Stream.RANK_LATENTS, number)
        latents = draw_latents(self._program, posterior, terms.z[sources], draws, seed, terms.images)
        seed = stream_seed(self._seed, Stream.RANK_OBSERVATIONS, number)
        observed = _drawn_by_block(self._program, posterior, latents, terms.images, seed)
        # A draw and its source become one pair of views: (R, A, N, ...) to (A R, N, ...)
        observed = {name: value.transpose(0, 1).flatten(0, 1) for name, value in observed.items()}
        places = torch.tensor(sources).repeat_interleave(draws)
        at_once = max(1, LARGEST // (terms.samples * terms.z[0].numel()))
        parts = [
            _log_predictive(
                self._program,
                map_posterior(terms.posterior, lambda one: one[chunk.to(one.device)]),  # noqa: B023
                {name: value[:, chunk.to(value.device)] for name, value in terms.latents.items()},
                {name: value[start : start + at_once] for name, value in observed.items()},
            )
            for start, chunk in zip(range(0, len(places), at_once), places.split(at_once), strict=True)
        ]
        return torch.cat(parts).unflatten(0, (len(sources), draws))


def mid_rank(drawn: Float[Tensor, "R N"], observed: Float[Tensor, " N"]) -> Float64[Tensor, " N"]:
    """Return the share of values above each observation, (h + (e + 1)/2)/(R + 1) with h above and e equal.

    It is NaN if a value or the observation is.
    """
    above, equal = (drawn > observed).double().sum(0), (drawn == observed).double().sum(0)
    undefined = drawn.isnan().any(0) | observed.isnan()
    return ((above + 0.5 * (equal + 1)) / (len(drawn) + 1)).masked_fill(undefined, torch.nan)


def _drawn_by_block(
    program: JointEmbedding, posterior: Any, latents: dict[str, Tensor], images: Int64[Tensor, " N"], seed: int
) -> dict[str, Tensor]:
    """Draw the observed sites given latents (R, A, N, ...), whole blocks at a time.

    The draws of a block depend on the seed and the block; those of an image on the others of its block only if a
    distribution draws by rejection.
    """
    parts = []
    blocks = images.cpu() // BLOCK
    for block in blocks.unique().tolist():
        members = torch.from_numpy(np.flatnonzero(blocks.numpy() == block))
        places = torch.full((BLOCK,), int(members[0]))
        places[images.cpu()[members] % BLOCK] = members
        whole = map_posterior(posterior, lambda one: one[:, places.to(one.device)])  # noqa: B023
        given = {name: value[:, :, places.to(value.device)] for name, value in latents.items()}
        device = next(iter(given.values())).device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(stream_seed(seed, block))
            drawn = draw_observations(program, whole, given)
        rows = images.cpu()[members] % BLOCK
        parts.append({name: value[:, :, rows.to(value.device)] for name, value in drawn.items()})
    return {name: torch.cat([part[name] for part in parts], 2) for name in parts[0]}


def _log_predictive(
    program: JointEmbedding, posterior: Any, latents: dict[str, Tensor], observed: dict[str, Tensor]
) -> Float64[Tensor, "P N"]:
    """Return log 1/S Σ_s p(y | s, σ) of values y of the observed sites, (P, N, ...), at latents (S, P, N, ...)."""
    first = next(iter(latents.values()))
    shape = first.shape[:3]
    with Given(latents | {name: value.expand(shape[0], *value.shape) for name, value in observed.items()}):
        trace = poutine.trace(in_plates(program.model, shape[0], shape[1])).get_trace(posterior, None)
    return log_prob(trace, list(observed), shape).double().logsumexp(0) - math.log(shape[0])
