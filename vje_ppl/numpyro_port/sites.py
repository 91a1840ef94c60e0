"""The sites of a traced model and guide: their contract, their log-likelihoods and their KL.

Twin of `vje_ppl.sites`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from numpyro.distributions.util import scale_and_mask

from vje_ppl.numpyro_port.distributions.kl import closed_form_kl


def site_terms(model_trace: Any, guide_trace: Any) -> tuple[dict[str, jax.Array], jax.Array, jax.Array]:
    """Log-likelihood per observed site, summed KL, and the first latent; names the site that breaks the contract."""
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
                f"The guide's site '{name}' is no latent site of the model; rename it, or mark it with "
                "infer={'is_auxiliary': True}."
            )
    if not latents or not observed:
        missing = "latent site, such as 'latent'" if not latents else "observed site, such as 'direction'"
        raise ValueError(f"The model has no {missing}; its sites are: {', '.join(model_sites) or 'none'}.")
    for sites, program in ((model_sites, "model"), (guide_sites, "guide")):
        for name, site in sites.items():
            _check_site(name, site, program)
    divergences = [_kl(guide_sites[name], latents[name]) for name in latents]
    divergences += [_log_prob(site, site) for name, site in guide_sites.items() if name not in latents]
    latent = latents.get("latent", next(iter(latents.values())))["value"]
    return {name: _log_prob(site, site) for name, site in observed.items()}, jnp.stack(divergences).sum(0), latent


def _stochastic_sites(trace: Any) -> dict[str, Any]:
    """Sample sites; NumPyro keeps plates and deterministic values apart."""
    return {name: site for name, site in trace.items() if site["type"] == "sample"}


def _check_site(name: str, site: Any, program: str) -> None:
    plates = [frame.name for frame in site["cond_indep_stack"]]
    if "images" not in plates:
        raise ValueError(
            f"The {program}'s site '{name}' is not in the plate 'images'; declare it under "
            "numpyro.plate('images', N, dim=-1)."
        )


def _kl(guide_site: Any, model_site: Any) -> jax.Array:
    """KL(q ‖ p) per image: closed form where there is one, else log q − log p of the draws.

    Where handlers weigh guide and model differently, the closed form takes the guide's weight w_q, and what is left
    over, E_q[(w_q − w_p) log p], comes from the draws: w_q E[log q] − w_p E[log p] in all.
    """
    kl = closed_form_kl(guide_site["fn"], model_site["fn"])
    if kl is None:
        return _log_prob(guide_site, guide_site) - _log_prob(model_site, model_site)
    kl = scale_and_mask(kl, scale=guide_site["scale"])
    if guide_site["scale"] is model_site["scale"]:
        return kl
    return kl + _log_prob(model_site, guide_site) - _log_prob(model_site, model_site)


def _log_prob(site: Any, weight: Any) -> jax.Array:
    """A site's log-probability per image, scaled as `weight`, a site, is; a mask is part of NumPyro's distribution."""
    intermediates = site["intermediates"]  # what a flow remembers of its draw
    log_prob = site["fn"].log_prob(site["value"], *([intermediates] if intermediates else []))
    return scale_and_mask(log_prob, scale=weight["scale"])
