"""The checks of a likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pyro.distributions import Unit
from torch import Tensor

from vje_ppl.testing.documented import is_documented
from vje_ppl.testing.normalized import integrates_to_one
from vje_ppl.testing.report import Failed, Report, described
from vje_ppl.testing.run import Checks, report
from vje_ppl.testing.stress import stress_grid
from vje_ppl.testing.subject import Subject, given, images
from vje_ppl.testing.traced import (
    base_measure,
    check_gradients,
    inputs,
    log_prob,
    non_finite,
    observed_sites,
    parameters,
    sites_of,
    vector_sites,
)
from vje_ppl.testing.twin import agrees_with_its_twin
from vje_ppl.testing.whole import gradient_of_the_loss_is_right, images_do_not_meet, works_in_the_objective

_SHAPES = "Shape mismatch inside plate"
_TO_EVENT = "declare the features as an event dimension with .to_event(1), and give one distribution per image"


def check_likelihood(likelihood: Any, dim: int | Sequence[int] = (2, 3, 16, 512)) -> Report:
    """Run every check of a likelihood on your own likelihood.

    It is checked alone, under stress, over its base measure, and in the objective with the default prior and guide.

    Args:
        likelihood: an instance, which is not changed: `likelihood(latent, scale, target)`.
        dim: the embedding widths D to check it at; a single width for a likelihood that is built for it.

    Returns:
        A report; printed, it has a line per check.

    Raises:
        ConformanceError: if a check fails, an `AssertionError`; it names each failed check, with what was expected,
            what came and what to do.
        ValueError: for a class instead of an instance, or a width below 2.
    """
    return report(LIKELIHOOD_CHECKS, given("likelihood", likelihood, [dim] if isinstance(dim, int) else dim))


def runs(subject: Subject) -> None:
    """Check that it can be called as `likelihood(latent, scale, target)`, at every width."""
    for dim in subject.dims:
        try:
            observed_sites(subject, dim)
        except Exception as error:
            if _SHAPES in str(error):  # the next check reports it
                continue
            raise Failed(
                f"expected likelihood(latent, scale, target) to run at D = {dim}, got {described(error)}; if it is "
                f"built for a single width, give that width as dim=..."
            ) from error


def one_log_prob_per_image(subject: Subject) -> None:
    """Check that it declares sites of batch shape (N,), whose values have the shape of their distribution."""
    try:
        sites = observed_sites(subject)
    except ValueError as error:
        raise Failed(
            f"expected one log-probability per image, got: {str(error).splitlines()[0]}; {_TO_EVENT}."
        ) from None
    if not sites:
        raise Failed("expected at least one observed site, got none; declare it with pyro.sample(..., obs=...).")
    for name, site in sites.items():
        if site["fn"].batch_shape != (images(subject.dim),):
            raise Failed(
                f"expected one log-probability per image at site '{name}', got {tuple(site['fn'].batch_shape)} for "
                f"{images(subject.dim)} images; {_TO_EVENT}."
            )
        if site["value"].shape != site["fn"].shape():
            raise Failed(
                f"expected a value of shape {tuple(site['fn'].shape())} at site '{name}', like its distribution, got "
                f"{tuple(site['value'].shape)}; make the features of both the same."
            )


def observes_every_site(subject: Subject) -> None:
    """Check that all its sites are observed, given a target."""
    for name, site in observed_sites(subject).items():
        if not site["is_observed"]:
            raise Failed(
                f"expected site '{name}' to be observed where there is a target, got a draw; pass obs= to pyro.sample."
            )


def sites_are_in_the_plate(subject: Subject) -> None:
    """Check that all its sites lie in the plate `images`, which the model declares around it."""
    for name, site in observed_sites(subject).items():
        plates = [frame.name for frame in site["cond_indep_stack"]]
        if plates != ["images"]:
            raise Failed(
                f"expected site '{name}' in the plate 'images' and no other, got {plates or 'none'}; leave the plates "
                "to the model."
            )


def draws_its_sites_without_a_target(subject: Subject) -> None:
    """Check that it draws the same sites with `None` as target, for predictive checks."""
    likelihood, (latent, scale, target) = subject.part(), inputs(subject.dim)
    drawn, observed = (sites_of(likelihood, latent, scale, one) for one in (None, target))
    if set(drawn) != set(observed):
        raise Failed(
            f"expected the sites {sorted(observed)} without a target as well, got {sorted(drawn)}; draw them all."
        )
    for name, site in drawn.items():
        if site["is_observed"] and not isinstance(site["fn"], Unit):
            raise Failed(
                f"expected site '{name}' to be drawn where there is no target, got an observation; pass obs=None."
            )
        if site["value"].shape != observed[name]["value"].shape or not torch.isfinite(site["value"]).all():
            raise Failed(
                f"expected finite draws of shape {tuple(observed[name]['value'].shape)} at site '{name}', got "
                f"{_described(site['value'])}; correct the distribution's sample."
            )


def names_its_base_measure(subject: Subject) -> None:
    """Check that `base_measure` names the measure of its densities; on the sphere it observes unit vectors."""
    measure = base_measure(subject)
    if not measure:
        raise Failed(
            "expected the attribute base_measure, the name of the measure that the densities refer to, since ELBOs "
            'compare only under the same measure; got none; write base_measure = "cartesian" for Lebesgue measure on '
            'R^D, or "sphere" for densities on the unit sphere, or a name of your own for another on R^D.'
        )
    if not measure.startswith("sphere"):
        return
    for name, site in vector_sites(observed_sites(subject)).items():
        lengths = site["value"].norm(dim=-1)
        if (lengths - 1).abs().max() > 1e-12:
            raise Failed(
                f"expected unit vectors at site '{name}', whose base measure is {measure!r}, got one of length "
                f"{lengths[(lengths - 1).abs().argmax()].item():.4g}; observe to_polar(target).direction."
            )


def depends_on_the_target(subject: Subject) -> None:
    """Check that every site's log-probability moves with the target."""
    likelihood, (latent, scale, target), (_, _, other) = (
        subject.part(),
        inputs(subject.dim),
        inputs(subject.dim, seed=1),
    )
    one, two = (sites_of(likelihood, latent, scale, seen) for seen in (target, other))
    for name in one:
        if torch.equal(log_prob(one[name]), log_prob(two[name])):
            raise Failed(
                f"expected the log-probability of site '{name}' to depend on the target, got the same for another "
                f"target; pass the observed part of the target to pyro.sample as obs=."
            )


def depends_on_the_latent(subject: Subject) -> None:
    """Check that some site's log-probability moves with the latent, or nothing would be learned."""
    likelihood, (latent, scale, target), (other, _, _) = (
        subject.part(),
        inputs(subject.dim),
        inputs(subject.dim, seed=1),
    )
    one, two = (sites_of(likelihood, seen, scale, target) for seen in (latent, other))
    if all(torch.equal(log_prob(one[name]), log_prob(two[name])) for name in one):
        raise Failed(
            "expected log-probabilities that depend on the latent, got the same for another latent; use the latent in "
            "the distributions."
        )


def keeps_the_dtype(subject: Subject) -> None:
    """Check that log-probabilities come in the precision of the inputs."""
    for dtype in (torch.float32, torch.float64):
        sites = sites_of(subject.part(dtype=dtype), *inputs(subject.dim, dtype))
        for name, site in sites.items():
            if log_prob(site).dtype != dtype:
                raise Failed(
                    f"expected {dtype} at site '{name}' from inputs and parameters in {dtype}, got "
                    f"{log_prob(site).dtype}; make constants with new_tensor or register them as buffers."
                )


def particles_do_not_meet(subject: Subject) -> None:
    """Check that several posterior draws and pairs of views at once give what each gives alone."""
    particles, pairs = 3, 2
    _, scale, target = inputs(subject.dim, shape=(pairs,))
    latent = torch.stack([inputs(subject.dim, seed=1 + one, shape=(pairs,))[0] for one in range(particles)])
    likelihood = subject.part()
    together = sites_of(likelihood, latent, scale, target)
    for name, site in together.items():
        found = log_prob(site)
        if found.shape != latent.shape[:-1]:
            raise Failed(
                f"expected log-probabilities of shape (particles, pairs, images) = {tuple(latent.shape[:-1])} at site "
                f"'{name}', got {tuple(found.shape)}; count dimensions from the right, and let the target broadcast."
            )
    for particle in range(particles):
        for pair in range(pairs):
            alone = sites_of(likelihood, latent[particle, pair], scale[pair], target[pair])
            for name, site in alone.items():
                if not torch.allclose(log_prob(together[name])[particle, pair], log_prob(site), rtol=1e-10, atol=1e-10):
                    raise Failed(
                        f"expected the log-probabilities of site '{name}' for several particles to equal those of each "
                        "particle alone, got other numbers; reduce over the last dimension only."
                    )


def is_finite_under_stress(subject: Subject) -> None:
    """Check that values and gradients are finite for latents and targets of norm 1e-6 to 1e4, scales 1e-4 to 1e2."""
    for dim in subject.dims:
        for dtype in (torch.float32, torch.float64):
            _stress(subject, dim, dtype)


def _stress(subject: Subject, dim: int, dtype: torch.dtype) -> None:
    grid = stress_grid(dim, dtype)
    likelihood = subject.part(dim, dtype)
    given = {"latent": grid.latent.requires_grad_(), "scale": grid.scale.requires_grad_()}
    given |= {name: tensor for name, tensor in parameters(likelihood).items() if tensor.requires_grad}
    advice = "bound what is divided by, and add logarithms rather than multiply"
    for name, site in sites_of(likelihood, grid.latent, grid.scale, grid.target).items():
        found = log_prob(site)
        if len(bad := non_finite(found)):
            raise Failed(
                f"expected finite log-probabilities, got {found[bad[0]].item():.3g} at site '{name}' for "
                f"{grid.words[bad[0]]}, D = {dim}, in {dtype}, and for {len(bad)} of {len(found)} such inputs in all; "
                f"{advice}."
            )
        if not found.requires_grad:
            continue
        gradients = torch.autograd.grad(
            found.sum(), list(given.values()), retain_graph=True, allow_unused=True, materialize_grads=True
        )
        for what, gradient in zip(given, gradients, strict=True):
            if torch.isfinite(gradient).all():
                continue
            where = f" for {grid.words[non_finite(gradient)[0]]}" if what in ("latent", "scale") else ""
            raise Failed(
                f"expected finite gradients of site '{name}' with respect to {what}, got NaN or infinity{where}, "
                f"D = {dim}, in {dtype}; {advice}, and keep NaN out of the branch that torch.where does not take."
            )


def gradient_is_right(subject: Subject) -> None:
    """Check gradients with respect to latent, scale, target and every parameter by finite differences."""
    likelihood, tensors = subject.part(), [tensor.requires_grad_() for tensor in inputs(subject.dim)]
    given = dict(zip(("latent", "scale", "target"), tensors, strict=True)) | parameters(likelihood)

    def log_probs() -> list[Tensor]:
        return [log_prob(site) for site in sites_of(likelihood, *tensors).values()]

    check_gradients(log_probs, given, "the log-probabilities")


def _described(tensor: Tensor) -> str:
    what = "" if torch.isfinite(tensor).all() else ", some not finite"
    return f"shape {tuple(tensor.shape)}{what}"


LIKELIHOOD_CHECKS = Checks(
    structure=(
        runs,
        one_log_prob_per_image,
        observes_every_site,
        sites_are_in_the_plate,
    ),
    behaviour=(
        draws_its_sites_without_a_target,
        names_its_base_measure,
        depends_on_the_target,
        depends_on_the_latent,
        keeps_the_dtype,
        particles_do_not_meet,
        is_finite_under_stress,
        gradient_is_right,
        integrates_to_one,
        works_in_the_objective,
        gradient_of_the_loss_is_right,
        images_do_not_meet,
        agrees_with_its_twin,
        is_documented,
    ),
)
