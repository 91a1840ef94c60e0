"""Densities of embeddings under a trained program, at given draws of its latents.

Model and guide run unchanged under Pyro's handlers, and all sites that they declare are reported.
Dimensions, from the left: S draws, P ordered pairs of views (or B targets), N images, D features.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from pyro import poutine
from torch import Tensor

from vje_ppl.measures.anomaly.image_noise import ImageNoise
from vje_ppl.measures.anomaly.traced import Given, in_plates, log_prob, map_posterior, sample_sites
from vje_ppl.methods.joint_embedding import JointEmbedding
from vje_ppl.program.sites import site_terms

#: Numbers in one tensor of draws × pairs × images × features; a few such tensors are alive at a time.
LARGEST = 2**24


class PairTerms(NamedTuple):
    """The program's terms of P ordered pairs of views, a→b, of N images; in nats.

    Attributes:
        log_likelihood: log p of view b's embedding at each observed site, at S draws of view a's posterior.
        kl: KL(q_a ‖ prior).
    """

    log_likelihood: dict[str, Float[Tensor, "S P N"]]
    kl: Float[Tensor, "P N"]


def draw_latents(
    program: JointEmbedding,
    posterior: Any,
    target: Float[Tensor, "V N D"],
    draws: int,
    seed: int,
    images: Int64[Tensor, " N"],
) -> dict[str, Tensor]:
    """Draw the guide's sites for V views of N images, with noise keyed by seed, view and image.

    Args:
        program: guide and model.
        posterior: posteriors of the views, tensors of shape (V, N, ...).
        target: the guide's argument beside the posterior; the views' own embeddings.
        draws: S.
        seed: of the noise.
        images: the images' places in the set, shape (N,).

    Returns:
        Values by site, (S, V, N, ...).
    """
    guide = in_plates(program.guide, draws, len(target))
    with ImageNoise(seed, images):
        trace = poutine.trace(guide).get_trace(posterior, target)
    return {name: site["value"] for name, site in sample_sites(trace).items() if not site["is_observed"]}


def draw_observations(program: JointEmbedding, posterior: Any, latents: dict[str, Tensor]) -> dict[str, Tensor]:
    """Draw the observed sites given the latents, from torch's global generator.

    Args:
        program: guide and model.
        posterior: posteriors of the source views, whose scale the likelihood is given; tensors of shape (V, N, ...).
        latents: values by site, (S, V, N, ...).

    Returns:
        Draws by site, (S, V, N, ...).

    Raises:
        NotImplementedError: if a site's distribution cannot be drawn from.
    """
    draws, views = next(iter(latents.values())).shape[:2]
    with Given(latents):
        trace = poutine.trace(in_plates(program.model, draws, views)).get_trace(posterior, None)
    return {name: site["value"] for name, site in sample_sites(trace).items() if name not in latents}


def pair_terms(
    program: JointEmbedding,
    posterior: Any,
    target: Float[Tensor, "P N D"],
    latents: dict[str, Tensor],
    given: Any = None,
) -> PairTerms:
    """Return the log-likelihood of each observed site and KL, for P ordered pairs of views.

    Args:
        program: guide and model.
        posterior: posteriors q_a of the source views, tensors of shape (P, N, ...).
        target: embeddings z_b of the target views.
        latents: draws from q_a by site, (S, P, N, ...).
        given: the posteriors whose scale the likelihood is given; `posterior` itself by default.
    """
    draws = len(next(iter(latents.values())))
    guide, model = (in_plates(one, draws, len(target)) for one in (program.guide, program.model))
    with Given(latents):
        guide_trace = poutine.trace(guide).get_trace(posterior, target)
        model_trace = poutine.trace(model).get_trace(posterior if given is None else given, target)
    shape = torch.Size((draws, *target.shape[:2]))
    log_likelihood, kl, _ = site_terms(model_trace, guide_trace, shape)
    kl = kl.expand(shape).mean(0)
    return PairTerms({name: term.expand(shape) for name, term in log_likelihood.items()}, kl)


def log_mixture(
    program: JointEmbedding,
    posterior: Any,
    latents: dict[str, Tensor],
    target: Float[Tensor, "N D"],
) -> Float[Tensor, " N"]:
    """Log of the mean density of each target over M source images and S draws of each:

        log 1/(M S) Σ_j Σ_s Π_sites p(z | s_j^(s), σ_j)

    Args:
        program: guide and model.
        posterior: posteriors of the source images, tensors of shape (M, ...).
        latents: draws by site, (S, 1, M, ...).
        target: embeddings z.

    Returns:
        In nats, float64.
    """
    first = next(iter(latents.values()))
    draws, sources, dim = len(first), first.shape[2], target.shape[-1]
    result = target.new_full((len(target),), -torch.inf, dtype=torch.float64)
    sources_at_once = max(1, min(sources, LARGEST // (draws * dim)))
    targets_at_once = max(1, LARGEST // (draws * sources_at_once * dim))
    for start in range(0, sources, sources_at_once):
        columns = slice(start, start + sources_at_once)
        given = {name: value[:, :, columns] for name, value in latents.items()}
        part = map_posterior(posterior, lambda one: one[columns])  # noqa: B023
        for first_target in range(0, len(target), targets_at_once):
            rows = slice(first_target, first_target + targets_at_once)
            density = _log_likelihood(program, part, given, target[rows]).double()
            result[rows] = torch.logaddexp(result[rows], density.logsumexp((0, 2)))
    return result - torch.tensor(float(draws * sources), dtype=torch.float64).log().to(result.device)


def _log_likelihood(
    program: JointEmbedding, posterior: Any, latents: dict[str, Tensor], target: Float[Tensor, "B D"]
) -> Float[Tensor, "S B M"]:
    """Return the sum over the observed sites, for every target and every source."""
    draws, sources = len(next(iter(latents.values()))), next(iter(latents.values())).shape[2]
    count = len(target)
    everywhere = map_posterior(posterior, lambda one: one.expand(count, *one.shape))
    targets = target.unsqueeze(1).expand(count, sources, -1)
    given = {name: value.expand(draws, count, *value.shape[2:]) for name, value in latents.items()}
    with Given(given):
        trace = poutine.trace(in_plates(program.model, draws, count)).get_trace(everywhere, targets)
    observed = [name for name, site in sample_sites(trace).items() if site["is_observed"]]
    return log_prob(trace, observed, torch.Size((draws, count, sources)))
