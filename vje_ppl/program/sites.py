"""The sites of a traced model and guide: their contract, their log-likelihoods and their KL."""

from __future__ import annotations

from typing import Any

import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from vje_ppl.distributions.kl import same_masks, without_masks
from vje_ppl.program.densities import DENSITIES, Densities


def site_terms(
    model_trace: Trace, guide_trace: Trace, shape: torch.Size, densities: Densities = DENSITIES
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Return the log-likelihood of each observed site, the summed KL and the first latent; errors name the site."""
    model_sites = _stochastic_sites(model_trace)
    guide_sites = _stochastic_sites(guide_trace)
    latents = {name: site for name, site in model_sites.items() if not site["is_observed"]}
    observed = {name: site for name, site in model_sites.items() if site["is_observed"]}
    for name in latents:
        if name not in guide_sites:
            raise ValueError(f"The model's latent site '{name}' is missing in the guide; sample it there too.")
    for name, site in guide_sites.items():
        if name not in latents and not site["infer"].get("is_auxiliary"):
            raise ValueError(
                f"The guide's site '{name}' is not a latent site of the model; rename it, or mark it with "
                "infer={'is_auxiliary': True}."
            )
    if not latents or not observed:
        missing = "latent site, such as 'latent'" if not latents else "observed site, such as 'direction'"
        raise ValueError(f"The model has no {missing}; its sites are: {', '.join(model_sites) or 'none'}.")
    for sites, program in ((model_sites, "model"), (guide_sites, "guide")):
        for name, site in sites.items():
            _check_site(name, site, program, shape)
    divergences = [_kl(guide_sites[name], latents[name], densities) for name in latents]
    divergences += [_log_prob(site, densities) for name, site in guide_sites.items() if name not in latents]
    latent = latents.get("latent", next(iter(latents.values())))["value"]
    log_likelihood = {name: _log_prob(site, densities) for name, site in observed.items()}
    return log_likelihood, total(divergences), latent


def total(terms: list[Tensor]) -> Tensor:
    """Return the sum of one or more terms of the same shape."""
    return sum(terms[1:], start=terms[0])


def _stochastic_sites(trace: Trace) -> dict[str, Any]:
    """Sample sites less those that Pyro keeps for plates and for `pyro.deterministic`, which have no density."""
    return {
        name: site
        for name, site in trace.nodes.items()
        if site["type"] == "sample"
        and not poutine.util.site_is_subsample(site)
        and not (site["infer"] or {}).get("_deterministic")
    }


def _check_site(name: str, site: Any, program: str, shape: torch.Size) -> None:
    plates = [frame.name for frame in site["cond_indep_stack"]]
    if "images" not in plates:
        raise ValueError(
            f"The {program}'s site '{name}' is not in the plate 'images'; declare it under "
            "pyro.plate('images', N, dim=-1)."
        )
    if site["fn"].batch_shape != shape:
        raise ValueError(
            f"The {program}'s site '{name}' has one log-probability per element of {tuple(site['fn'].batch_shape)}, "
            f"expected {tuple(shape)}, that is (pairs, images) after any particles; declare the features as an event "
            "dimension with .to_event(1)."
        )
    value, expected = site["value"].shape, site["fn"].shape()
    if value != expected[len(expected) - len(value) :]:  # a target has no dimension of particles
        raise ValueError(
            f"The {program}'s site '{name}' has a distribution over {tuple(expected)}, but its value has shape "
            f"{tuple(value)}; give it the features of the embedding, or of what it observes."
        )
    if program == "guide" and not site["fn"].has_rsample:
        raise ValueError(
            f"The guide's site '{name}' draws from {type(site['fn']).__name__}, which is not reparameterized; use a "
            "distribution with rsample, since the gradient goes through the draws."
        )


def _kl(guide_site: Any, model_site: Any, densities: Densities) -> Tensor:
    """Return w_q E_q[log q] − w_p E_q[log p] per image, with the weights w of scales and masks.

    This is KL(q ‖ p) if both weights are 1. If the KL has a closed form, the result is w_p KL + (w_p − w_q) H[q], or,
    if the entropy H is unknown, w_q KL + E_q[(w_q − w_p) log p] with the mean over the draws. Without a closed form, it
    is estimated from the draws.
    """
    (q, q_masks), (p, p_masks) = without_masks(guide_site["fn"]), without_masks(model_site["fn"])
    kl = densities.kl(q, p)
    if kl is None:
        return _log_prob(guide_site, densities) - _log_prob(model_site, densities)
    kl = kl.expand(torch.broadcast_shapes(guide_site["fn"].batch_shape, model_site["fn"].batch_shape))
    if _same_weight(guide_site, q_masks, model_site, p_masks):
        return _weighted(kl, guide_site, q_masks)
    try:
        entropy = q.entropy().expand_as(kl)
    except NotImplementedError:
        log_p = p.log_prob(model_site["value"], *model_site["args"], **model_site["kwargs"])
        left_over = _weighted(log_p, guide_site, q_masks) - _weighted(log_p, model_site, p_masks)
        return _weighted(kl, guide_site, q_masks) + left_over
    left_over = _weighted(entropy, model_site, p_masks) - _weighted(entropy, guide_site, q_masks)
    return _weighted(kl, model_site, p_masks) + left_over


def _weighted(term: Tensor, site: Any, masks: list[bool | Tensor]) -> Tensor:
    """Return a term per image, scaled as handlers scale a site, and masked by them and by its distribution."""
    for mask in masks:
        term = scale_and_mask(term, mask=mask)
    return scale_and_mask(term, scale=site["scale"], mask=site["mask"])


def _same_weight(guide_site: Any, q_masks: list[bool | Tensor], model_site: Any, p_masks: list[bool | Tensor]) -> bool:
    """Return whether scales and masks are known to be the same without looking at any tensor's numbers."""
    scales = guide_site["scale"], model_site["scale"]
    numbers = all(isinstance(scale, int | float) for scale in scales)
    same_scale = scales[0] == scales[1] if numbers else scales[0] is scales[1]
    return same_scale and same_masks([guide_site["mask"], *q_masks], [model_site["mask"], *p_masks])


def _log_prob(site: Any, densities: Densities) -> Tensor:
    """Return a site's log-probability per image, scaled and masked."""
    log_prob = densities.log_prob(site["fn"], site["value"], *site["args"], **site["kwargs"])
    return scale_and_mask(log_prob, scale=site["scale"], mask=site["mask"])
