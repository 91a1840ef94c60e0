"""The checks of a prior."""

from __future__ import annotations

from typing import Any

import torch

from vje_ppl.distributions.kl import closed_form_kl
from vje_ppl.testing import integral
from vje_ppl.testing.documented import is_documented
from vje_ppl.testing.report import Failed, Report
from vje_ppl.testing.run import Checks, report
from vje_ppl.testing.stress import decades
from vje_ppl.testing.subject import Subject, given
from vje_ppl.testing.traced import check_gradients, non_finite, parameters, within
from vje_ppl.testing.twin import agrees_with_its_twin
from vje_ppl.testing.whole import gradient_of_the_loss_is_right, images_do_not_meet, works_in_the_objective


def check_prior(prior: Any, dim: int) -> Report:
    """Run every check of a prior on your own prior.

    It is checked alone, under stress, for its integral, and in the objective with the default guide and likelihood. A
    prior that declares `bind(infer)` is bound to the default guide.

    Args:
        prior: an instance, which is not changed: called without arguments, returns a distribution over (D,).
        dim: the embedding width D that it is built for. Integrals are sharpest at 2 and 3.

    Returns:
        A report; printed, it has a line per check.

    Raises:
        ConformanceError: if a check fails, an `AssertionError`; it names each failed check, with what was expected,
            what came and what to do.
        ValueError: for a class instead of an instance, or a width below 2.
    """
    return report(PRIOR_CHECKS, given("prior", prior, [dim]))


def is_over_the_embedding(subject: Subject) -> None:
    """Check that a call returns a distribution of batch shape () and event shape (D,)."""
    for dim in subject.dims:
        prior = subject.part(dim)
        found = prior()
        shapes = [tuple(getattr(found, name, ("none",))) for name in ("batch_shape", "event_shape")]
        if shapes != [(), (dim,)]:
            came = f"shapes {shapes[0]} and {shapes[1]}" if hasattr(found, "event_shape") else repr(found)
            raise Failed(
                f"expected a distribution of batch shape () and event shape ({dim},), got {came}; take the width from "
                "a constructor parameter named dim, and declare the features with .to_event(1)."
            )


def draws_what_it_can_evaluate(subject: Subject) -> None:
    """Check that draws have the width of the embedding, are finite, and have one finite log-probability each."""
    prior, dim = subject.part(), subject.dim
    draws = prior().sample((7,))
    if draws.shape != (7, dim) or not torch.isfinite(draws).all():
        raise Failed(f"expected 7 finite draws of {dim} features, got shape {tuple(draws.shape)}; correct sample.")
    found = prior().log_prob(draws)
    if found.shape != (7,) or not torch.isfinite(found).all():
        raise Failed(f"expected 7 finite log-probabilities, got shape {tuple(found.shape)}; sum over the features.")


def keeps_the_dtype(subject: Subject) -> None:
    """Check that draws and log-probabilities come in the precision of the module."""
    for dtype in (torch.float32, torch.float64):
        prior = subject.part(dtype=dtype)
        draw = prior().sample()
        if {draw.dtype, prior().log_prob(draw).dtype} != {dtype}:
            raise Failed(
                f"expected draws and log-probabilities in {dtype} from a module in {dtype}, got {draw.dtype} and "
                f"{prior().log_prob(draw).dtype}; register constants as buffers, which follow the module."
            )


def integrates_to_one(subject: Subject) -> None:
    """Check that its density integrates to one over R^D, and draws follow it."""
    dim = min(subject.dims)
    prior = subject.part(dim)
    advice = "correct the normalizer in log_prob, or the draws in sample, of which one is off"
    within(*integral.by_draws(prior()), f"the density over R^{dim}", advice)


def is_finite_under_stress(subject: Subject) -> None:
    """Check that values and gradients stay finite for latents of norm 1e-6 to 1e4, and at the origin."""
    for dim in subject.dims:
        for dtype in (torch.float32, torch.float64):
            prior = subject.part(dim, dtype)
            latent = torch.cat([decades(dim, dtype), torch.zeros(1, dim, dtype=dtype)]).requires_grad_()
            found = prior().log_prob(latent)
            learned = {name: tensor for name, tensor in parameters(prior).items() if tensor.requires_grad}
            gradients = torch.autograd.grad(
                found.sum(), [latent, *learned.values()], allow_unused=True, materialize_grads=True
            )
            for what, tensor in zip(("values", "the latent", *learned), (found, *gradients), strict=True):
                if not torch.isfinite(tensor).all():
                    of = what if what == "values" else f"gradients with respect to {what}"
                    where = ""
                    if tensor.shape[:1] == latent.shape[:1]:
                        where = f" for a latent of norm {latent[non_finite(tensor)[0]].norm().item():.0e}"
                    raise Failed(
                        f"expected finite {of}, got NaN or infinity{where}, D = {dim}, in {dtype}; add logarithms "
                        f"instead of multiplying, and bound denominators."
                    )


def gradient_is_right(subject: Subject) -> None:
    """Check gradients with respect to the latent and every parameter by finite differences."""
    prior = subject.part()
    latent = torch.randn(5, subject.dim, dtype=torch.float64, requires_grad=True)
    given = {"the latent": latent} | parameters(prior)
    check_gradients(lambda: [prior().log_prob(latent)], given, "the log-probability")


def kl_from_the_guide_is_right(subject: Subject) -> None:
    """Check that a registered KL from the guide's distribution to the prior agrees with draws."""
    module = subject.whole()
    with torch.no_grad():
        posterior = module.guide.infer(module.guide.embed(subject.views()[0]))
        compare_kl(posterior.distribution(), module.model.prior())


def compare_kl(q: Any, p: Any, count: int = 20_000) -> None:
    """Compare a registered KL(q ‖ p), if any, with its Monte Carlo estimate.

    Raises:
        Failed: if they differ by more than five standard errors.
    """
    registered = closed_form_kl(q, p)
    if registered is None:
        return
    draws = q.sample((count,))
    ratio = q.log_prob(draws) - p.log_prob(draws)
    error = ratio.std(0) / count**0.5
    # A constant log-ratio, as of equal distributions, has no spread but its rounding.
    off = (registered - ratio.mean(0)).abs() > 5 * error + 1e-9 * (1 + registered.abs())
    if off.any():
        worst = int(off.float().argmax())
        raise Failed(
            f"expected the registered KL from {type(q).__name__} to {type(p).__name__} to be "
            f"{ratio.mean(0)[worst].item():.5g} ± {error[worst].item():.1g}, estimated from draws, got "
            f"{registered[worst].item():.5g}; correct what is registered with register_kl."
        )


PRIOR_CHECKS = Checks(
    structure=(is_over_the_embedding,),
    behaviour=(
        draws_what_it_can_evaluate,
        keeps_the_dtype,
        integrates_to_one,
        is_finite_under_stress,
        gradient_is_right,
        kl_from_the_guide_is_right,
        works_in_the_objective,
        gradient_of_the_loss_is_right,
        images_do_not_meet,
        agrees_with_its_twin,
        is_documented,
    ),
)
