"""`joint`: the density of both views of a pair, by the chain rule."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vje_ppl.measures.anomaly.gaussian import Gaussian
from vje_ppl.measures.anomaly.kinds import JOINT, ScoreKind
from vje_ppl.measures.anomaly.program_terms import ProgramTerms, Scores
from vje_ppl.measures.anomaly.view_pairs import CLEAN_CLEAN, ViewPairs


class Joint:
    """Joint densities of pairs of views, in nats; higher = more anomalous:

        −log p̂(z_a) − log p(z_b | z_a),    averaged over ordered pairs a→b

    log p(z_b | z_a) is the estimate of `predictive`: log 1/S Σ_s p(z_b | s, σ_a) with s from q_a. It says whether two
    views of an image agree, and p̂ whether view a is usual. p̂ is a Gaussian with Ledoit and Wolf's covariance, fitted
    to embeddings of the training images under the same kind of view as a: without augmentation, or one random view of
    each.

    The two terms have their own base measures. p̂ is a density of z_a on R^D. The program's density of z_b is with
    respect to its observed sites, for a polar likelihood to polar coordinates, direction and radius: the density of the
    same event on R^D is smaller by the factor r^(D−1), which is not applied here.

    Args:
        clean: embeddings of M training images without augmentation.
        augmented: embeddings of one random view of each of M training images; None: pairs with a random source are not
            scored.
        device: where densities are computed.

    Source: the chain rule with a Gaussian marginal; ours.
    """

    def __init__(
        self, clean: Float[Tensor, "M D"], augmented: Float[Tensor, "M D"] | None, device: torch.device
    ) -> None:
        self.clean = Gaussian.fitted(clean, device)
        self._augmented = None if augmented is None else Gaussian.fitted(augmented, device)
        self._training_images = len(clean)

    def __call__(self, terms: ProgramTerms, kinds: list[ViewPairs]) -> Scores:
        """Score N images, for each kind of pairs that can be."""
        log_marginal = self.clean.log_prob(terms.z[:1])
        if self._augmented is not None and len(terms.z) > 1:
            log_marginal = torch.cat([log_marginal, self._augmented.log_prob(terms.z[1:])])
        found: Scores = {}
        for kind in kinds:
            if kind.kind != CLEAN_CLEAN and self._augmented is None:
                continue
            sources = [source for source, _ in kind.ordered]
            joint = log_marginal[sources] + terms.pairs[kind.kind].predictive
            row = ScoreKind(
                JOINT,
                kind.kind,
                kind.augmentations,
                samples=terms.samples,
                pairs=kind.pairs,
                training_images=self._training_images,
            )
            found[row] = -joint.mean(0)
        return found
