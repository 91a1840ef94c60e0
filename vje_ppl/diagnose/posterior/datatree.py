"""Draws, densities and observations as an ArviZ DataTree; the only module that follows ArviZ's conventions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import arviz_base
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import random

from vje_ppl.diagnose.posterior.problem import BAYESIAN, PosteriorProblem
from vje_ppl.diagnose.posterior.reference import Reference
from vje_ppl.parallel.randomness import Stream, stream_seed

#: Variables with a dimension `feature`.
_PER_FEATURE = frozenset({"latent", "likelihood_scale", "direction", "embedding", "rhat", "ess_bulk"})


@dataclass(frozen=True)
class DataTreeOptions:
    """The size of a DataTree.

    Attributes:
        samples: draws of each group but those of NUTS.
        features: features of the embedding, evenly spread, at most; None: all.
        nuts_draws: draws of each chain of NUTS, evenly spread.
    """

    samples: int = 200
    features: int | None = 32
    nuts_draws: int = 200


def write_datatree(
    path: Path,
    reference: Reference,
    options: DataTreeOptions,
    index: Sequence[int],
    labels: Sequence[str],
    attributes: Mapping[str, Any],
) -> None:
    """Write everything as netCDF, to be read by `arviz.from_netcdf`.

    Dimensions are `chain` and `draw`, as ArviZ expects of draws, `image` (which image of the held-out set; coordinate
    `label`) and `feature`. Draws that are independent, all but those of NUTS, are one chain.

    Groups: `posterior` (the guide's draws), `prior`, `posterior_predictive` and `prior_predictive` (cosine of the angle
    to the mean of the guide's posterior, radius), `observed_data` (the same, observed), `constant_data` (the
    likelihood's scale, and what is observed feature by feature), `log_likelihood` (per site, at the guide's draws),
    `sample_stats` (of the guide's draws: log densities of guide, prior and both together), `posterior_nuts` and
    `sample_stats_nuts` for the Bayesian posterior, `posterior_nuts_tempered` and its statistics where the run has β ≠
    1, and `convergence_…_data` (R-hat, ESS, divergences, which images converged).

    Args:
        path: the file.
        reference: guide, program and chains.
        options: the size.
        index: the images' places in the held-out set.
        labels: their classes.
        attributes: of the root: run, versions, seed, β, which view is observed.
    """
    problem = reference.problem
    samples = min(options.samples, len(problem.guide_draws))
    count = problem.dim if options.features is None else min(problem.dim, options.features)
    features = np.unique(np.linspace(0, problem.dim - 1, count).astype(int))
    guide = problem.guide_draws[:samples]
    terms = problem.terms(guide[:, None], targets=1)
    groups: dict[str, dict[str, np.ndarray]] = {
        "posterior": {"latent": _float(guide[..., features])},
        "sample_stats": {
            "lp": _float(terms.joint(BAYESIAN)[:, 0]),
            "log_prior": _float(np.broadcast_to(terms.prior[:, 0], guide.shape[:2])),
            "log_guide": _float(problem.guide_log_prob[:samples]),
        },
        "log_likelihood": {name: _float(one[:, 0]) for name, one in terms.sites.items()},
    }
    key = random.key(stream_seed(problem.seed, Stream.DATATREE_PRIOR) % 2**32)
    prior = np.asarray(problem.program.prior().sample(key, (samples, problem.images)))
    groups["prior"] = {"latent": _float(prior[..., features])}
    for number, (group, latent) in enumerate((("posterior_predictive", guide), ("prior_predictive", prior))):
        groups[group] = _predictive(problem, latent, stream_seed(problem.seed, Stream.DATATREE_PREDICTIVE, number))
    observed = _observed(problem, features)
    # ArviZ looks for draws of everything in `observed_data`
    groups["observed_data"] = {name: one for name, one in observed.items() if name in groups["posterior_predictive"]}
    groups["constant_data"] = {name: one for name, one in observed.items() if name not in groups["observed_data"]}
    for power in reference.powers:
        ending = "nuts" if power.name == BAYESIAN.name else f"nuts_{power.name}"
        sampled = reference.sampled(power)
        kept = np.linspace(0, sampled.latent.shape[2] - 1, min(options.nuts_draws, sampled.latent.shape[2])).astype(int)
        groups[f"posterior_{ending}"] = {"latent": np.moveaxis(sampled.latent[:, :, kept][..., features], 0, 2)}
        groups[f"sample_stats_{ending}"] = {
            theirs: np.moveaxis(sampled.stats[ours][:, :, kept], 0, 2)
            for ours, theirs in (("diverging", "diverging"), ("acceptance", "acceptance_rate"), ("steps", "n_steps"))
        }
        groups[f"sample_stats_{ending}"]["lp"] = -np.moveaxis(sampled.stats["energy"][:, :, kept], 0, 2)
        groups[f"convergence_{ending}_data"] = {
            "rhat": sampled.convergence.rhat[:, features].astype(np.float32),
            "ess_bulk": sampled.convergence.ess[:, features].astype(np.float32),
            "rhat_max": sampled.convergence.rhat.max(-1).astype(np.float32),
            "ess_min": sampled.convergence.ess.min(-1).astype(np.float32),
            "divergences": sampled.convergence.divergences,
            "converged": sampled.convergence.converged,
        }
    coordinates = {"image": np.asarray(index), "feature": features, "label": np.asarray([str(one) for one in labels])}
    _write(path, groups, coordinates, attributes)


def _float(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, dtype=np.float32)


def _observed(problem: PosteriorProblem, features: np.ndarray) -> dict[str, np.ndarray]:
    """Return the first target's sites and the likelihood's scale."""
    found = {"likelihood_scale": problem.scale[:, features]}
    for name, value in problem.observed.items():
        first = np.asarray(value[0], np.float32)
        found[name] = first[:, features] if first.ndim == 2 else first
    polar = _polar(problem.observed)
    if polar is not None:
        found["direction_cosine"] = _cosine(polar[0][0], problem)
        found["radius"] = polar[1][0].astype(np.float32)
    return found


def _predictive(problem: PosteriorProblem, latent: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Return the direction cosine and the radius of what the likelihood draws at latents (S, N, D)."""
    scale = jnp.broadcast_to(jnp.asarray(problem.scale), latent.shape)
    drawn = problem.program.draw_observed(random.key(seed % 2**32), jnp.asarray(latent), scale)
    replicated = _polar({name: np.asarray(one) for name, one in drawn.items()})
    if replicated is None:
        return {name: _float(np.asarray(one)) for name, one in drawn.items() if np.ndim(one) == 2}
    return {"direction_cosine": _cosine(replicated[0], problem), "radius": _float(replicated[1])}


def _polar(observed: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray | Any] | None:
    """Return the direction and the radius of what is observed; None for sites of another kind."""
    if "direction" in observed:
        direction = np.asarray(observed["direction"])
        return direction, np.asarray(observed.get("radius", np.linalg.norm(direction, axis=-1)))
    vectors = [np.asarray(one) for one in observed.values() if np.ndim(one) >= 2]
    if len(vectors) != 1:
        return None
    return vectors[0], np.linalg.norm(vectors[0], axis=-1)


def _cosine(direction: np.ndarray, problem: PosteriorProblem) -> np.ndarray:
    """Return the cosine of the angle to the mean of the guide's posterior, one fixed direction per image."""
    return _float((_unit(direction) * _unit(problem.guide_mean)).sum(-1))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-12)


def _write(
    path: Path, groups: dict[str, dict[str, np.ndarray]], coords: dict[str, Any], attributes: Mapping[str, Any]
) -> None:
    labels = coords.pop("label")
    names = {name for group in groups.values() for name in group}
    dims = {name: ["image", "feature"] if name in _PER_FEATURE else ["image"] for name in names}
    tree = xr.DataTree()
    for name, group in groups.items():
        if "nuts" not in name and not name.endswith("data"):
            group = {variable: values[None] for variable, values in group.items()}  # one chain
        one = arviz_base.from_dict({name: group}, coords={**coords}, dims=dims, check_conventions=False)
        tree[name] = xr.DataTree(one[name].to_dataset().assign_coords(label=("image", labels)))
    tree.attrs = {**attributes, "creation_library": "vje_ppl"}
    temporary = path.with_name(path.name + ".partial")
    temporary.unlink(missing_ok=True)  # the path may be a link to another place
    tree.to_netcdf(temporary, engine="h5netcdf")
    temporary.replace(path)
