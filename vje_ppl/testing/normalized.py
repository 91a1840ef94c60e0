"""Whether a likelihood's densities integrate to one, and its draws follow them."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import Unit
from torch import Tensor

from vje_ppl.testing import integral
from vje_ppl.testing.report import Failed, NotRun
from vje_ppl.testing.subject import Subject
from vje_ppl.testing.traced import base_measure, inputs, sites_of, vector_sites, within


def integrates_to_one(subject: Subject) -> None:
    """Check that densities integrate to one over their base measure, and draws follow them.

    That is the unit sphere for vectors where `base_measure` begins with "sphere", and R or R^D otherwise. Where it says
    "at most one", vectors may have less than all of the probability, and their draws are not checked.
    """
    measure = base_measure(subject)
    if not measure:
        raise NotRun("without a base_measure the domain of integration is unknown")
    on_sphere, reasons = measure.startswith("sphere"), []
    # Draws are informative in few dimensions only; on the sphere there is quadrature.
    dims = subject.dims if on_sphere else [dim for dim in subject.dims if dim <= 4] or [min(subject.dims)]
    for dim in dims:
        try:
            _integrate(subject, dim, on_sphere)
        except NotRun as reason:
            reasons.append(str(reason))
    if len(reasons) == len(dims):
        raise NotRun(reasons[0])


def _integrate(subject: Subject, dim: int, on_sphere: bool) -> None:
    axis, sites = _few_sites(subject, dim)
    at_most = "at most one" in base_measure(subject)
    vectors = vector_sites(sites)
    for name, site in sites.items():
        if isinstance(site["fn"], Unit):
            continue
        if name in vectors and on_sphere:
            _integrate_over_sphere(subject, dim, name, site["fn"], axis, at_most)
            continue
        space = f"R^{dim}" if name in vectors else "R"
        advice = "correct the normalizer in log_prob, or the draws in sample, of which one is off"
        within(*integral.by_draws(site["fn"]), f"site '{name}' over {space}", advice)


def _integrate_over_sphere(subject: Subject, dim: int, name: str, density: Any, axis: Tensor, at_most: bool) -> None:
    """Integrate by quadrature over the sphere, for few features; by the angle to the latent; or by draws."""
    what = f"site '{name}' over the unit sphere of R^{dim}"
    if dim <= 3:
        _expect_one(integral.over_circle_or_sphere(density.log_prob, len(axis), dim), what, at_most)
    if integral.is_zonal(density.log_prob, axis):
        for size in (0.05, 0.5, 5.0):
            axis, sites = _few_sites(subject, dim, size)
            total = integral.over_sphere_by_angle(sites[name]["fn"].log_prob, axis)
            _expect_one(total, f"{what}, at scales around {size},", at_most)
    elif dim > 3:
        raise NotRun(f"site '{name}' is not symmetric around the latent; check at dim=2 or 3 as well")
    if dim <= 16 and not at_most:
        advice = "by quadrature it is one, so correct the draws in sample"
        within(*integral.over_sphere_by_draws(density, axis), f"{what}, by draws,", advice)


def _few_sites(subject: Subject, dim: int, size: float = 1.0) -> tuple[Tensor, dict[str, Any]]:
    """Return the directions of two latents, and the sites given them, at scales times a number."""
    latent, scale, target = (one[:2] for one in inputs(dim))
    axis = latent / latent.norm(dim=-1, keepdim=True)
    return axis, sites_of(subject.part(dim), latent, size * scale, target)


def _expect_one(total: Tensor, what: str, at_most: bool) -> None:
    off = (total - 1).nan_to_num(torch.inf)
    off = off if at_most else off.abs()
    if off.max() > 1e-6:  # the quadrature's own error is below 1e-9
        raise Failed(
            f"expected {what} to integrate to {'at most ' * at_most}one, got {total[off.argmax()].item():.6g}; correct "
            "the normalizer in log_prob, which is over the surface of the sphere, or let base_measure name another."
        )
