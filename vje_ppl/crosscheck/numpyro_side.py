"""The values that NumPyro and JAX compute for the cases."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, random
from numpyro import handlers

from vje_ppl.crosscheck import quantities as q
from vje_ppl.crosscheck.cases import BETA, Cases
from vje_ppl.crosscheck.variants import FEATURE_WISE_WIDTHS, Variant
from vje_ppl.numpyro_port import radius_scales, scales
from vje_ppl.numpyro_port.distributions import DiagonalStudentT, StudentT
from vje_ppl.numpyro_port.guides.diagonal_normal import DiagonalNormal, DiagonalNormalPosterior
from vje_ppl.numpyro_port.likelihoods import polar_student_t
from vje_ppl.numpyro_port.objective import ObjectiveTerms, SymmetricConditionalELBO
from vje_ppl.numpyro_port.polar import to_polar
from vje_ppl.numpyro_port.priors.standard_normal import StandardNormal
from vje_ppl.numpyro_port.radius import StudentTRadius
from vje_ppl.numpyro_port.vje import VJE

#: The seed of a key that no draw depends on, because every latent is given.
_KEY_SEED = 0

#: Options for fast compilation, which dominates because each function runs once.
_COMPILER_OPTIONS = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}

#: The arguments by which the program is differentiated.
_ARGUMENTS = ("latent", "loc", "scale", "target", "df", "radius_df", "log_scale")
#: The values that are differentiated.
_VALUES = (q.PRIOR, q.GUIDE, q.DIRECTION, q.RADIUS, q.KL, *q.ELBO, q.OBJECTIVE)

#: All threads share NumPyro's stack of handlers, so only compilation may run concurrently.
_TRACING = threading.Lock()


def densities(cases: Cases, device: str = "cpu") -> dict[str, np.ndarray]:
    """Compute the polar decomposition and single densities, with gradients."""
    return _evaluate(_densities, cases, device)


def program(cases: Cases, variant: Variant, device: str = "cpu") -> dict[str, np.ndarray]:
    """Compute every site of model and guide, KL and objective, with gradients."""
    results, pulled = _evaluate(partial(_program, variant), cases, device)
    return results | _named(variant, cases, pulled)


def _evaluate(function: Callable, cases: Cases, device: str) -> Any:
    """Compile and run a function on a device, in the dtype of the cases, without changing JAX's global settings."""
    with jax.enable_x64(cases.mean.dtype == np.float64), jax.default_device(jax.devices(device)[0]):
        inputs = {name: jnp.asarray(array) for name, array in cases.arrays().items()}
        with _TRACING:
            lowered = jax.jit(function).lower(inputs)
        results = lowered.compile(compiler_options=_COMPILER_OPTIONS)(inputs)
        return jax.tree.map(np.asarray, results)


def _densities(c: dict[str, Array]) -> dict[str, Array]:
    polar = to_polar(c["embedding"])
    results = {q.POLAR_DIRECTION: polar.direction, q.POLAR_RADIUS: polar.radius}

    def projection(vector: Array) -> Array:
        polar = to_polar(vector)
        return (polar.direction * c["cotangent"]).sum(-1) + polar.radius

    results |= _gradients((q.POLAR_GRADIENT,), projection, c["embedding"])
    df, scale = c["df"][0], c["scale"][0]
    for name, density, arguments in (
        (q.DIAGONAL_STUDENT_T, DiagonalStudentT, (df, c["loc"], scale, c["target"])),
        (q.FACTORIZED_STUDENT_T, polar_student_t.factorized, (df, c["loc"], scale, c["target"])),
        (q.STUDENT_T, StudentT, (df, c["radius_loc"], c["radius_scale"], c["radius_target"])),
    ):
        if name != q.DIAGONAL_STUDENT_T and scale.shape[-1] not in FEATURE_WISE_WIDTHS:
            continue

        def log_prob(df: Array, loc: Array, scale: Array, target: Array, density: Callable = density) -> Array:
            return density(df, loc, scale).log_prob(target)

        results[name], pull = jax.vjp(log_prob, *arguments)
        gradients = pull(jnp.ones_like(results[name]))
        results |= dict(zip(q.gradient(name, *q.DENSITY_ARGUMENTS), gradients, strict=True))
    if scale.shape[-1] not in FEATURE_WISE_WIDTHS:
        return results
    broadcast = DiagonalStudentT(df[:3, None], c["loc"][None, :4], c["scale"][0, 0])
    results[q.BROADCAST] = broadcast.log_prob(c["target"][:4])
    return results


def build_model(variant: Variant, c: dict[str, Array], df: Array, radius_df: Array, log_scale: Array) -> Callable:
    """Return the model of a variant, with a ν for each direction of the pair and each image."""
    directions = {"joint": DiagonalStudentT, "factorized": polar_student_t.factorized}
    prior = StandardNormal(c["mean"].shape[-1])
    radius = StudentTRadius(scale=getattr(radius_scales, variant.radius_scale))
    likelihood = polar_student_t.PolarStudentT(direction=directions[variant.direction], radius=radius)
    free = scales.Free(c["mean"].shape[-1])
    model = VJE(prior, likelihood, free if variant.scale == "free" else scales.Tied(variant.scale == "detached"))
    likelihood.df.value, radius.df.value = df, radius_df
    return handlers.substitute(model, data={"scale.log_value": log_scale})


def _program(variant: Variant, c: dict[str, Array]) -> tuple[dict[str, Array], tuple[Array, ...]]:
    """Compute all values from one trace, and all gradients by a loop over one compiled backward pass.

    Returns:
        Values by name, and for each of `_ARGUMENTS` the gradients of `_VALUES`, stacked.
    """
    arguments = (c["latent"], c["mean"], c["scale"], c["embedding"], c["df"], c["radius_df"], c["log_scale"])

    def terms(objective: SymmetricConditionalELBO, *arguments: Array) -> tuple[Callable, ObjectiveTerms]:
        latent, mean, scale, embedding, *parameters = arguments
        model = build_model(variant, c, *parameters)
        posteriors = [DiagonalNormalPosterior(*one) for one in zip(mean, scale, strict=True)]
        return model, objective_terms(model, DiagonalNormal(), posteriors, list(embedding), latent, objective)

    def outputs(*arguments: Array) -> dict[str, Array]:
        model, found = terms(SymmetricConditionalELBO(BETA, detach_target=False), *arguments)
        posterior = DiagonalNormalPosterior(*arguments[1:3])
        prior, guide = (
            handlers.trace(handlers.substitute(one, data={"latent": arguments[0]})).get_trace(posterior, found.target)
            for one in (model, DiagonalNormal())
        )
        return {
            q.PRIOR: prior["latent"]["fn"].log_prob(arguments[0]),
            q.GUIDE: guide["latent"]["fn"].log_prob(arguments[0]),
            q.DIRECTION: found.log_likelihood["direction"],
            q.RADIUS: found.log_likelihood["radius"],
            q.KL: found.kl,
            **dict(zip(q.ELBO, found.elbo, strict=True)),
            q.OBJECTIVE: found.objective.mean(0),
            q.LOSS: found.loss,
        }

    results, pull = jax.vjp(outputs, *arguments)
    pulled = _pull_each(results, pull)
    if variant.scale != "detached":
        return results, pulled

    def detached(embedding: Array) -> Array:
        return terms(SymmetricConditionalELBO(BETA), *arguments[:3], embedding, *arguments[4:])[1].objective

    return results | _gradients((q.DETACHED,), detached, c["embedding"]), pulled


def _named(variant: Variant, cases: Cases, stacked: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Return the gradients that are compared, from those of `_VALUES` by each of `_ARGUMENTS`."""
    each = zip(*stacked, strict=True)
    pulled = {name: dict(zip(_ARGUMENTS, found, strict=True)) for name, found in zip(_VALUES, each, strict=True)}
    pulled[q.RADIUS]["df"] = pulled[q.RADIUS]["radius_df"]
    for name in (*q.ELBO, q.OBJECTIVE):  # add the gradient through the draw, latent = loc + scale · noise
        pulled[name]["loc"] = pulled[name]["loc"] + pulled[name]["latent"]
        pulled[name]["scale"] = pulled[name]["scale"] + pulled[name]["latent"] * cases.noise
    results: dict[str, np.ndarray] = {}
    for name, wanted in (
        (q.PRIOR, ("latent",)),
        (q.GUIDE, ("latent", "loc", "scale")),
        (q.DIRECTION, q.SITE_ARGUMENTS),
        (q.RADIUS, q.SITE_ARGUMENTS),
        (q.KL, ("loc", "scale")),
        *((name, q.ELBO_ARGUMENTS) for name in (*q.ELBO, q.OBJECTIVE)),
    ):
        results |= dict(zip(q.gradient(name, *wanted), (pulled[name][one] for one in wanted), strict=True))
    if variant.scale == "free":
        results[q.FREE_SCALE] = pulled[q.OBJECTIVE]["log_scale"]
    return results


def objective_terms(
    model: Callable,
    guide: Callable,
    posteriors: Sequence[Any],
    embeddings: Sequence[Array],
    latent: Array,
    objective: SymmetricConditionalELBO,
) -> ObjectiveTerms:
    """Return the objective's terms for given embeddings, posteriors and latents, from NumPyro's own traces."""
    guide = handlers.substitute(guide, data={"latent": latent})
    return objective.terms(random.key(_KEY_SEED), model, guide, posteriors, embeddings)


def _gradients(names: Sequence[str], function: Callable, *inputs: Array) -> dict[str, Array]:
    """Return the gradient of the sum of the outputs by each input."""
    output, pull = jax.vjp(function, *inputs)
    return dict(zip(names, pull(jnp.ones_like(output)), strict=True))


def _pull_each(outputs: dict[str, Array], pull: Callable) -> tuple[Array, ...]:
    """Return the stacked gradients of the sums of `_VALUES`, by a loop over a backward pass that is compiled once."""

    def chosen(which: Array) -> tuple[Array, ...]:
        weight = {name: which == place for place, name in enumerate(_VALUES)}
        return pull({name: jnp.full_like(value, weight.get(name, 0)) for name, value in outputs.items()})

    return jax.lax.map(chosen, jnp.arange(len(_VALUES)))
