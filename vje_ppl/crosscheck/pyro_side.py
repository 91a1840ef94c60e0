"""The values that Pyro and torch compute for the cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

from vje_ppl.crosscheck import quantities as q
from vje_ppl.crosscheck.cases import BETA, Cases
from vje_ppl.crosscheck.variants import FEATURE_WISE_WIDTHS, Variant
from vje_ppl.distributions import DiagonalStudentT
from vje_ppl.distributions.student_t import StudentT
from vje_ppl.guides.diagonal_normal import DiagonalNormal, DiagonalNormalPosterior
from vje_ppl.models import radius_scales, scales
from vje_ppl.models.likelihoods import polar_student_t
from vje_ppl.models.priors.standard_normal import StandardNormal
from vje_ppl.models.radius import StudentTRadius
from vje_ppl.models.vje import VJE
from vje_ppl.program.objective import ObjectiveTerms, SymmetricConditionalELBO
from vje_ppl.program.polar import to_polar


def densities(cases: Cases, device: str = "cpu") -> dict[str, np.ndarray]:
    """Compute the polar decomposition and single densities, with gradients."""
    c = _tensors(cases, device)
    vector = c["embedding"]
    polar = to_polar(vector)
    results = {q.POLAR_DIRECTION: polar.direction, q.POLAR_RADIUS: polar.radius}
    projection = (polar.direction * c["cotangent"]).sum(-1) + polar.radius
    results |= _gradients((q.POLAR_GRADIENT,), projection, vector)
    df, scale = _leaf(c["df"][0]), _leaf(c["scale"][0])
    each: tuple[tuple[str, Callable[..., Any], tuple[Tensor, ...]], ...] = (
        (q.DIAGONAL_STUDENT_T, DiagonalStudentT, (df, c["loc"], scale, c["target"])),
        (q.FACTORIZED_STUDENT_T, polar_student_t.factorized, (df, c["loc"], scale, c["target"])),
        (q.STUDENT_T, StudentT, (df, c["radius_loc"], c["radius_scale"], c["radius_target"])),
    )
    for name, density, arguments in each:
        if name != q.DIAGONAL_STUDENT_T and cases.dim not in FEATURE_WISE_WIDTHS:
            continue
        distribution: Any = density(*arguments[:3])
        results[name] = distribution.log_prob(arguments[3])
        results |= _gradients(q.gradient(name, *q.DENSITY_ARGUMENTS), results[name], *arguments)
    if cases.dim not in FEATURE_WISE_WIDTHS:
        return _numpy(results)
    broadcast: Any = DiagonalStudentT(df[:3, None], c["loc"][None, :4], c["scale"][0, 0])
    results[q.BROADCAST] = broadcast.log_prob(c["target"][:4])
    return _numpy(results)


def program(cases: Cases, variant: Variant, device: str = "cpu") -> dict[str, np.ndarray]:
    """Compute every site of model and guide, KL and objective, with gradients."""
    c = _tensors(cases, device)
    model = build_model(variant, c)
    guide = DiagonalNormal(cases.dim, network=lambda inputs, outputs: nn.Identity())
    return _numpy(_sites(model, guide, c) | _objective(model, guide, c))


def build_model(variant: Variant, c: dict[str, Tensor]) -> VJE:
    """Return the model of a variant, with a ν for each direction of the pair and each image."""
    directions = {"joint": DiagonalStudentT, "factorized": polar_student_t.factorized}
    prior = StandardNormal(c["mean"].shape[-1])
    radius = StudentTRadius(scale=getattr(radius_scales, variant.radius_scale))
    likelihood = polar_student_t.PolarStudentT(direction=directions[variant.direction], radius=radius)
    free = scales.Free(c["mean"].shape[-1])
    model = VJE(prior, likelihood, free if variant.scale == "free" else scales.Tied(variant.scale == "detached"))
    model.to(c["mean"])
    likelihood.df.value, radius.df.value = c["df"], c["radius_df"]
    if variant.scale == "free":
        free.log_value = nn.Parameter(c["log_scale"].detach())
    return model


def _sites(model: VJE, guide: DiagonalNormal, c: dict[str, Tensor]) -> dict[str, Tensor]:
    latent = c["latent"]
    posterior, target = DiagonalNormalPosterior(c["mean"], c["scale"]), c["embedding"].flip(0)
    given = {"latent": latent}
    sites: Any = poutine.trace(poutine.condition(model, given)).get_trace(posterior, target).nodes
    guide_sites: Any = poutine.trace(poutine.condition(guide, given)).get_trace(posterior, target).nodes
    results = {
        name: site["fn"].log_prob(site["value"])
        for name, site in (
            (q.PRIOR, sites["latent"]),
            (q.GUIDE, guide_sites["latent"]),
            (q.DIRECTION, sites["direction"]),
            (q.RADIUS, sites["radius"]),
        )
    }
    results |= _gradients(q.gradient(q.PRIOR, "latent"), results[q.PRIOR], latent)
    results |= _gradients(
        q.gradient(q.GUIDE, "latent", "loc", "scale"), results[q.GUIDE], latent, c["mean"], c["scale"]
    )
    for name, df in ((q.DIRECTION, c["df"]), (q.RADIUS, c["radius_df"])):
        gradients = _gradients(
            q.gradient(name, *q.SITE_ARGUMENTS), results[name], latent, c["scale"], c["embedding"], df
        )
        results |= gradients
    return results


def _objective(model: VJE, guide: DiagonalNormal, c: dict[str, Tensor]) -> dict[str, Tensor]:
    terms = objective_terms(model, guide, c, SymmetricConditionalELBO(BETA, detach_target=False))
    results = {q.KL: terms.kl, q.OBJECTIVE: terms.objective.mean(0), q.LOSS: terms.loss}
    results |= _gradients(q.gradient(q.KL, "loc", "scale"), terms.kl, c["mean"], c["scale"])
    arguments = (c["mean"], c["scale"], c["embedding"], c["df"], c["radius_df"])
    for name, elbo in zip(q.ELBO, terms.elbo, strict=True):
        results[name] = elbo
        results |= _gradients(q.gradient(name, *q.ELBO_ARGUMENTS), elbo, *arguments)
    results |= _gradients(q.gradient(q.OBJECTIVE, *q.ELBO_ARGUMENTS), results[q.OBJECTIVE], *arguments)
    if isinstance(model.scale, scales.Free):
        results |= _gradients((q.FREE_SCALE,), results[q.OBJECTIVE], model.scale.log_value)
    if not (isinstance(model.scale, scales.Tied) and model.scale.detach):
        return results
    detached = objective_terms(model, guide, c, SymmetricConditionalELBO(BETA))
    return results | _gradients((q.DETACHED,), detached.objective, c["embedding"])


def objective_terms(
    model: Any, guide: Any, c: dict[str, Tensor], objective: SymmetricConditionalELBO
) -> ObjectiveTerms:
    """Return the objective's terms for given embeddings, posteriors and noise, from Pyro's own traces."""
    posteriors = [DiagonalNormalPosterior(*parameters) for parameters in zip(c["mean"], c["scale"], strict=True)]
    latent = c["mean"] + c["scale"] * c["noise"]
    with GivenLatent(latent):
        return objective.terms(model, GivenPosteriors(guide, posteriors), *c["embedding"])


class GivenPosteriors:
    """A guide with given posteriors, whose views are embeddings.

    Args:
        guide: the guide that declares the latent site.
        posteriors: the results of the calls of `infer`, in order.
    """

    def __init__(self, guide: Any, posteriors: Sequence[Any]) -> None:
        self._guide = guide
        self._posteriors = iter(posteriors)

    def embed(self, view: Tensor) -> Tensor:
        """Return the view itself."""
        return view

    def infer(self, embedding: Tensor) -> Any:
        """Return the next posterior."""
        return next(self._posteriors)

    def __call__(self, posterior: Any, target: Tensor) -> Tensor:
        """Declare the guide's sites."""
        return self._guide(posterior, target)


class GivenLatent(Messenger):
    """A context that draws a given value at the site "latent". The site is not observed, and gradients flow through it.

    Args:
        value: the guide's draw, with the site's full shape.
    """

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self._value = value

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] == "latent" and msg["value"] is None:
            msg["value"] = self._value


def _tensors(cases: Cases, device: str) -> dict[str, Tensor]:
    return {name: _leaf(torch.as_tensor(array, device=device)) for name, array in cases.arrays().items()}


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_()


def _gradients(names: Sequence[str], output: Tensor, *inputs: Tensor) -> dict[str, Tensor]:
    """Return the gradient of the sum of the outputs by each input; zero for an input that is not used."""
    if not output.requires_grad:
        return {name: torch.zeros_like(given) for name, given in zip(names, inputs, strict=True)}
    found = torch.autograd.grad(output.sum(), inputs, retain_graph=True, allow_unused=True, materialize_grads=True)
    return dict(zip(names, found, strict=True))


def _numpy(results: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.detach().cpu().numpy() for name, tensor in results.items()}
