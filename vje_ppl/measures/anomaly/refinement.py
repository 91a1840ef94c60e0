"""Posteriors moved away from the guide's, and the objective that says how much better they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vje_ppl.measures.anomaly.conditional_densities import pair_terms
from vje_ppl.methods.joint_embedding import JointEmbedding


def moved(posterior: Any, shift: Float[Tensor, "*batch D"], log_factor: Float[Tensor, "*batch2 D"]) -> Any:
    """Return a posterior with mean μ + shift · σ and scale exp(log_factor) · σ; all else is the guide's.

    Args:
        posterior: with `mean` and `scale`, of a flow those of its base.
        shift: in standard deviations.
        log_factor: log of the factor.
    """
    mean, scale = posterior.mean + shift * posterior.scale, posterior.scale * log_factor.exp()
    return replace(posterior, mean=mean, scale=scale)


def weighted_elbo(
    program: JointEmbedding,
    posterior: Any,
    target: Float[Tensor, "P N D"],
    latents: dict[str, Tensor],
    beta: float,
    given: Any = None,
) -> Float[Tensor, "P N"]:
    """Return E_q[log p(z_b | s, σ)] − β KL(q ‖ prior) of each ordered pair and image, in nats.

    Args:
        program: guide and model.
        posterior: q, tensors of shape (P, N, ...).
        target: embeddings z_b.
        latents: draws from q by site, (S, P, N, ...).
        beta: β; 1 for the evidence lower bound.
        given: the posterior whose scale is the likelihood's σ; q itself by default.
    """
    terms = pair_terms(program, posterior, target, latents, given)
    return torch.stack(list(terms.log_likelihood.values())).sum(0).mean(0) - beta * terms.kl
