"""The sites of a traced model and guide: their contract, their log-likelihoods and their KL.

Twin of `vje_ppl.program.sites`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from numpyro.distributions.util import scale_and_mask

from vje_ppl.numpyro_port.distributions.kl import closed_form_kl, same_masks, without_masks


def site_terms(model_trace: Any, guide_trace: Any) -> tuple[dict[str, jax.Array], jax.Array, jax.Array]:
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
            _check_site(name, site, program)
    divergences = [_kl(guide_sites[name], latents[name]) for name in latents]
    divergences += [_log_prob(site) for name, site in guide_sites.items() if name not in latents]
    latent = latents.get("latent", next(iter(latents.values())))["value"]
    return {name: _log_prob(site) for name, site in observed.items()}, jnp.stack(divergences).sum(0), latent


def _stochastic_sites(trace: Any) -> dict[str, Any]:
    """Return the sample sites; NumPyro gives plates and deterministic values another type."""
    return {name: site for name, site in trace.items() if site["type"] == "sample"}


def _check_site(name: str, site: Any, program: str) -> None:
    plates = [frame.name for frame in site["cond_indep_stack"]]
    if "images" not in plates:
        raise ValueError(
            f"The {program}'s site '{name}' is not in the plate 'images'; declare it under "
            "numpyro.plate('images', N, dim=-1)."
        )


def _kl(guide_site: Any, model_site: Any) -> jax.Array:
    """Return w_q E_q[log q] − w_p E_q[log p] per image, with the weights w of scales and masks.

    This is KL(q ‖ p) if both weights are 1. If the KL has a closed form, the result is w_p KL + (w_p − w_q) H[q], or,
    if the entropy H is unknown, w_q KL + E_q[(w_q − w_p) log p] with the mean over the draws. Without a closed form, it
    is estimated from the draws.
    """
    (q, q_masks), (p, p_masks) = without_masks(guide_site["fn"]), without_masks(model_site["fn"])
    kl = closed_form_kl(q, p)
    if kl is None:
        return _log_prob(guide_site) - _log_prob(model_site)
    kl = jnp.broadcast_to(kl, jnp.broadcast_shapes(guide_site["fn"].batch_shape, model_site["fn"].batch_shape))
    if guide_site["scale"] is model_site["scale"] and same_masks(q_masks, p_masks):
        return _weighted(kl, guide_site, q_masks)
    try:
        entropy = jnp.broadcast_to(q.entropy(), kl.shape)
    except NotImplementedError:
        log_p = p.log_prob(model_site["value"])
        left_over = _weighted(log_p, guide_site, q_masks) - _weighted(log_p, model_site, p_masks)
        return _weighted(kl, guide_site, q_masks) + left_over
    left_over = _weighted(entropy, model_site, p_masks) - _weighted(entropy, guide_site, q_masks)
    return _weighted(kl, model_site, p_masks) + left_over


def _weighted(term: jax.Array, site: Any, masks: list[Any]) -> jax.Array:
    """Return a term per image, masked and scaled like the site; NumPyro keeps all masks in the distributions."""
    for mask in masks:
        term = scale_and_mask(term, mask=mask)
    return scale_and_mask(term, scale=site["scale"])


def _log_prob(site: Any) -> jax.Array:
    """Return a site's log-probability per image, scaled and masked."""
    intermediates = site["intermediates"]  # the log-determinant that a flow computed with its draw
    log_prob = site["fn"].log_prob(site["value"], *([intermediates] if intermediates else []))
    return scale_and_mask(log_prob, scale=site["scale"])
