"""The checks of a guide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from vje_ppl.program.moments import moments
from vje_ppl.testing import integral
from vje_ppl.testing.documented import is_documented
from vje_ppl.testing.prior import compare_kl
from vje_ppl.testing.report import Failed, Report
from vje_ppl.testing.run import Checks, report
from vje_ppl.testing.stress import decades
from vje_ppl.testing.subject import Subject, given
from vje_ppl.testing.traced import non_finite, parameters, within
from vje_ppl.testing.twin import agrees_with_its_twin
from vje_ppl.testing.whole import gradient_of_the_loss_is_right, images_do_not_meet, works_in_the_objective


def check_guide(guide: Any, views: Sequence[Tensor] | None = None) -> Report:
    """Run every check of a guide on your own guide.

    It is checked alone, under stress, for agreement with its draws, and in the objective with the default prior and
    likelihood.

    Args:
        guide: an instance, which is not changed, with `dim`, `embed(view)`, `infer(embedding)` and
            `forward(posterior, target)`, such as a subclass of `vje_ppl.AmortizedGuide`. Integrals are
            sharpest for `dim` of 2 and 3.
        views: two views of the same images, six or so, as its encoder takes them; by default embeddings (6, D), for a
            guide without an encoder.

    Returns:
        A report; printed, it has a line per check.

    Raises:
        ConformanceError: if a check fails, an `AssertionError`; it names each failed check, with what was expected,
            what came and what to do.
        ValueError: for a class instead of an instance, a guide without `dim`, or views that are not two of the same
            shape.
    """
    dim = getattr(guide, "dim", None)
    if not isinstance(dim, int) and not isinstance(guide, type):
        raise ValueError(f"check_guide expects a guide whose dim is the embedding width, got dim={dim!r}; set it.")
    if views is not None and (len(views) != 2 or len({tuple(view.shape) for view in views}) != 1 or len(views[0]) < 4):
        shapes = " and ".join(str(tuple(view.shape)) for view in views)
        raise ValueError(f"check_guide expects two views of the same four images or more, got shapes {shapes}.")
    return report(GUIDE_CHECKS, given("guide", guide, [dim or 2], views))


def infers_a_posterior(subject: Subject) -> None:
    """Check that `infer(embed(view))` is a dataclass with `mean` and `scale`, both (N, D), and `distribution()`."""
    guide = subject.part()
    absent = [name for name in ("embed", "infer") if not callable(getattr(guide, name, None))]
    if absent:
        raise Failed(f"expected methods embed and infer, got no {' and no '.join(absent)}; subclass AmortizedGuide.")
    view = subject.views()[0]
    embedding = guide.embed(view)
    shape = (len(view), subject.dim)
    if embedding.shape != shape:
        raise Failed(f"expected embeddings of shape (N, D) = {shape}, got {tuple(embedding.shape)}; see the encoder.")
    posterior = guide.infer(embedding)
    names = {field.name for field in fields(posterior)} if is_dataclass(posterior) else set()
    if not {"mean", "scale"} <= names or not callable(getattr(posterior, "distribution", None)):
        raise Failed(
            "expected a dataclass with fields mean and scale and a method distribution, got "
            f"{type(posterior).__name__} with fields {sorted(names) or 'none'}; return one from infer."
        )
    for name in ("mean", "scale"):
        if (found := tuple(getattr(posterior, name).shape)) != shape:
            raise Failed(
                f"expected {name} of shape (N, D) = {shape}, got {found}; return one number per feature and image."
            )


def scale_is_positive(subject: Subject) -> None:
    """Check that standard deviations are positive."""
    scale = _posterior(subject).scale
    if not (scale > 0).all():
        raise Failed(
            f"expected positive standard deviations as scale, got {scale.min().item():.3g}; take the exponential of "
            f"the network's output, as vje_ppl.BoundedScale does."
        )


def declares_the_latent(subject: Subject) -> None:
    """Check that `guide(posterior, target)` draws the site `latent` in plate `images`, reparameterized."""
    sites = poutine.trace(subject.part()).get_trace(*_arguments(subject)).nodes
    if "latent" not in sites:
        raise Failed(f"expected a site 'latent', got {sorted(set(sites) - {'_INPUT', '_RETURN'})}; rename the site.")
    site: Any = sites["latent"]
    shapes = tuple(site["fn"].batch_shape), tuple(site["fn"].event_shape)
    wanted = (len(subject.views()[0]),), (subject.dim,)
    if shapes != wanted:
        raise Failed(
            f"expected batch shape {wanted[0]} and event shape {wanted[1]} at site 'latent', got {shapes[0]} and "
            f"{shapes[1]}; declare the features with .to_event(1)."
        )
    plates = [frame.name for frame in site["cond_indep_stack"]]
    if plates != ["images"]:
        raise Failed(
            f"expected site 'latent' in the plate 'images', got {plates or 'none'}; declare it under "
            "pyro.plate('images', N, dim=-1)."
        )
    if not site["fn"].has_rsample:
        raise Failed(
            f"expected a reparameterized distribution at site 'latent', got {type(site['fn']).__name__}; use one with "
            "rsample, since the gradient goes through the draws."
        )


def distribution_is_that_of_the_site(subject: Subject) -> None:
    """Check that `posterior.distribution()` has the density of the site `latent`."""
    guide, (posterior, target) = subject.part(), _arguments(subject)
    site: Any = poutine.trace(guide).get_trace(posterior, target).nodes["latent"]
    one, other = (fn.log_prob(site["value"]) for fn in (site["fn"], posterior.distribution()))
    if not torch.allclose(one, other, rtol=1e-9, atol=1e-9):
        raise Failed(
            "expected the density of posterior.distribution() at site 'latent', got a different density; sample the "
            "site from posterior.distribution()."
        )


def draws_have_its_moments(subject: Subject, count: int = 20_000) -> None:
    """Check that draws match `posterior.moments()` or, without it, `mean` and `scale`."""
    guide, (posterior, target) = subject.part(), _arguments(subject)
    with torch.no_grad():
        site: Any = poutine.trace(guide).get_trace(posterior, target).nodes["latent"]
        draws = site["fn"].sample((count,))
        mean, deviation = moments(posterior)
    variance = draws.var(0)
    kurtosis = (draws - draws.mean(0)).pow(4).mean(0) / variance.square()
    mean_error, deviation_error = (variance / count).sqrt(), (variance * (kurtosis - 1) / (4 * count)).sqrt()
    if own := getattr(posterior, "moment_draws", None):  # these moments are estimates from draws, half of them free
        mean_error = mean_error + (variance * 2 / own).sqrt()
        deviation_error = deviation_error + (variance * (kurtosis - 1) / (2 * own)).sqrt()
    source = "moments()" if hasattr(posterior, "moments") else "mean and scale"
    advice = f"make {source} match the draws, or add a method moments that does"
    for what, said, came, error in (
        ("mean", mean, draws.mean(0), mean_error),
        ("standard deviation", deviation, variance.sqrt(), deviation_error),
    ):
        off = ~((said - came).abs() <= 5 * error)
        if off.any():
            image, feature = off.nonzero()[0].tolist()
            raise Failed(
                f"expected draws with the {what} given by {source}, {said[image, feature].item():.4g} for feature "
                f"{feature} of image {image}, got {came[image, feature].item():.4g} ± "
                f"{error[image, feature].item():.1g}; {advice}."
            )


def density_is_that_of_its_draws(subject: Subject) -> None:
    """Check that its density integrates to one over R^D, by its own draws."""
    with torch.no_grad():
        distribution = _posterior(subject).distribution()
        advice = "correct log_prob or rsample (for example a log-determinant)"
        within(*integral.by_draws(distribution), f"the posterior's density over R^{subject.dim}", advice)


def is_finite_under_stress(subject: Subject) -> None:
    """Check that posterior, draws and gradients stay finite for embeddings of norm 1e-6 to 1e4."""
    for dim in subject.dims:
        for dtype in (torch.float32, torch.float64):
            guide = subject.part(dim, dtype)
            embedding = decades(dim, dtype).requires_grad_()
            posterior = guide.infer(embedding)
            distribution = posterior.distribution()
            draw = distribution.rsample()
            found = {"mean": posterior.mean, "scale": posterior.scale, "draws": draw}
            found |= {"log-probabilities": distribution.log_prob(draw)}
            learned = {name: tensor for name, tensor in parameters(guide).items() if tensor.requires_grad}
            total = torch.stack([tensor.sum() for tensor in found.values()]).sum()
            of_embedding, *rest = torch.autograd.grad(
                total, [embedding, *learned.values()], allow_unused=True, materialize_grads=True
            )
            found |= {"gradients with respect to the embedding": of_embedding}
            found |= {f"gradients with respect to {name}": one for name, one in zip(learned, rest, strict=True)}
            for what, tensor in found.items():
                if _fine(tensor):
                    continue
                where = ""
                if tensor.shape[:1] == embedding.shape[:1]:
                    where = f" for an embedding of norm {embedding[non_finite(tensor)[0]].norm().item():.0e}"
                raise Failed(
                    f"expected finite {what}, got NaN or infinity{where}, D = {dim}, in {dtype}; bound the logarithm "
                    "of the scale, as vje_ppl.BoundedScale does."
                )


def keeps_the_dtype(subject: Subject) -> None:
    """Check that posterior and draws come in the precision of the module."""
    for dtype in (torch.float32, torch.float64):
        guide = subject.part(dtype=dtype)
        posterior = guide.infer(guide.embed(subject.views(dtype=dtype)[0]))
        found = {posterior.mean.dtype, posterior.scale.dtype, posterior.distribution().rsample().dtype}
        if found != {dtype}:
            raise Failed(
                f"expected mean, scale and draws in {dtype} from a module in {dtype}, got "
                f"{' and '.join(sorted(map(str, found)))}; register constants as buffers, which follow the module."
            )


def infers_in_float32_under_autocast(subject: Subject) -> None:
    """Check that the posterior's parameters stay float32 under autocast to bfloat16."""
    guide = subject.part(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        posterior = guide.infer(guide.embed(subject.views(dtype=torch.float32)[0]))
    if {posterior.mean.dtype, posterior.scale.dtype} != {torch.float32}:
        raise Failed(
            f"expected mean and scale in torch.float32 under autocast, got {posterior.mean.dtype} and "
            f"{posterior.scale.dtype}; infer from self.network_output(embedding)."
        )


def kl_to_the_prior_is_right(subject: Subject) -> None:
    """Check that a registered KL from its distribution to the prior's agrees with draws."""
    module = subject.whole()
    with torch.no_grad():
        compare_kl(_posterior(subject).distribution(), module.model.prior())


def _posterior(subject: Subject) -> Any:
    guide = subject.part()
    return guide.infer(guide.embed(subject.views()[0]))


def _arguments(subject: Subject) -> tuple[Any, Tensor]:
    """Return a posterior, and embeddings as the target."""
    return _posterior(subject), torch.randn(len(subject.views()[0]), subject.dim, dtype=torch.float64)


def _fine(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


GUIDE_CHECKS = Checks(
    structure=(infers_a_posterior, scale_is_positive, declares_the_latent),
    behaviour=(
        distribution_is_that_of_the_site,
        draws_have_its_moments,
        density_is_that_of_its_draws,
        is_finite_under_stress,
        keeps_the_dtype,
        infers_in_float32_under_autocast,
        kl_to_the_prior_is_right,
        works_in_the_objective,
        gradient_of_the_loss_is_right,
        images_do_not_meet,
        agrees_with_its_twin,
        is_documented,
    ),
)
