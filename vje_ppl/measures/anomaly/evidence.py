"""`evidence`: the density of all views of an image together, by importance sampling."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float, Float64
from pyro import poutine
from torch import Tensor

from vje_ppl.measures.anomaly.conditional_densities import LARGEST
from vje_ppl.measures.anomaly.gaussian import Gaussian
from vje_ppl.measures.anomaly.kinds import EVIDENCE, ScoreKind
from vje_ppl.measures.anomaly.program_terms import ProgramTerms, Scores
from vje_ppl.measures.anomaly.traced import Given, in_plates, log_prob, map_posterior, sample_sites
from vje_ppl.measures.anomaly.view_pairs import ALL
from vje_ppl.methods.joint_embedding import JointEmbedding
from vje_ppl.program.moments import moments

_CHUNK = 1024


class Evidence:
    """The negative log evidence of all V views of an image, in nats; higher = more anomalous:

        −log ∫ p̂(s) Π_v p(z_v | s, σ_0) ds

    All views are observed given one latent s, with the scale σ_0 of the view without augmentation. The prior p̂ is
    fitted to the training images, since the program's own prior is the same for all of them: a Normal with the mean and
    Ledoit and Wolf's covariance of their posterior means, plus the mean of their posterior variances on the diagonal.

    The integral is an importance sampling estimate. The proposal is the equal mixture of the V views' posteriors, with
    K draws of each, and every draw has the weight of the whole mixture:

        1/(V K) Σ_draws p̂(s) Π_v p(z_v | s, σ_0) / (1/V Σ_v q_v(s))

    The estimate's log is low on average, and the score high. Densities of the guide are its own, under Pyro's trace, so
    any guide will do. Latent sites other than the first keep the program's prior.

    Args:
        program: guide and model, in evaluation mode.
        training: embeddings of M training images without augmentation.
        samples: K.

    Source: deterministic-mixture weights: Owen and Zhou, "Safe and Effective Importance Sampling", 2000. The fitted
    prior, and the evidence of several views as a score: ours.
    """

    def __init__(self, program: JointEmbedding, training: Float[Tensor, "M D"], samples: int) -> None:
        self._program, self._samples, self._training_images = program, samples, len(training)
        found = [moments(program.guide.infer(chunk)) for chunk in training.split(_CHUNK)]
        mean, scale = (torch.cat(parts).cpu() for parts in zip(*found, strict=True))
        self._prior = Gaussian.of_posteriors(mean, scale, training.device)

    def __call__(self, terms: ProgramTerms) -> Scores:
        """Score N images, with K of the draws that other scores use."""
        samples = min(self._samples, terms.samples)
        kind = ScoreKind(EVIDENCE, ALL, len(terms.z) - 1, samples=samples, training_images=self._training_images)
        latents = {name: value[:samples] for name, value in terms.latents.items()}
        return {kind: -log_evidence(self._program, self._prior, terms.z, terms.posterior, latents)}


def log_evidence(
    program: JointEmbedding, prior: Gaussian, z: Float[Tensor, "V N D"], posterior: Any, latents: dict[str, Tensor]
) -> Float64[Tensor, " N"]:
    """Estimate the log evidence of V views of N images, in nats.

    Args:
        program: guide and model.
        prior: replaces that of the first latent site.
        z: embeddings of the views, the first without augmentation.
        posterior: the views' posteriors, tensors of shape (V, N, ...).
        latents: K draws of each view's posterior, by site, (K, V, N, ...).
    """
    draws = {name: value.flatten(0, 1) for name, value in latents.items()}
    count = len(next(iter(draws.values())))
    at_once = max(1, LARGEST // z.numel())
    clean = map_posterior(posterior, lambda one: one[:1].expand_as(one))
    weights = []
    for start in range(0, count, at_once):
        chunk = {name: value[start : start + at_once] for name, value in draws.items()}
        weights.append(_log_weights(program, prior, z, posterior, clean, chunk))
    return torch.cat(weights).logsumexp(0) - math.log(count)


def _log_weights(
    program: JointEmbedding, prior: Gaussian, z: Tensor, posterior: Any, clean: Any, draws: dict[str, Tensor]
) -> Float64[Tensor, "S N"]:
    """Return log p̂(s) + Σ_v log p(z_v | s) − log 1/V Σ_v q_v(s) of draws (S, N, ...)."""
    count, views = len(next(iter(draws.values()))), len(z)
    shape = torch.Size((count, *z.shape[:2]))
    given = {name: value.unsqueeze(1).expand(count, views, *value.shape[1:]) for name, value in draws.items()}
    with Given(given):
        guide = poutine.trace(in_plates(program.guide, count, views)).get_trace(posterior, z)
        model = poutine.trace(in_plates(program.model, count, views)).get_trace(clean, z)
    proposal = log_prob(guide, list(draws), shape).double().logsumexp(1) - math.log(views)
    sites = sample_sites(model)
    observed = [name for name, site in sites.items() if site["is_observed"]]
    likelihood = log_prob(model, observed, shape).double().sum(1)
    latent, *others = sorted((name for name in draws if name in sites), key=lambda name: name != "latent")
    log_prior = prior.log_prob(draws[latent])
    if others:
        log_prior = log_prior + log_prob(model, others, shape)[:, 0]
    return log_prior + likelihood - proposal
