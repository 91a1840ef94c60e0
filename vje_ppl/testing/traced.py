"""A likelihood's sites, declared in the plates of the objective."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import pyro
import torch
from jaxtyping import Float
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from torch import Tensor, nn

from vje_ppl.testing.report import Failed, NotRun
from vje_ppl.testing.subject import Subject, images

_PLATES = ("images", "pairs", "particles")


def sites_of(
    likelihood: Any,
    latent: Float[Tensor, "*draws N D"],
    scale: Float[Tensor, "*batch N D"],
    target: Float[Tensor, "*batch N D"] | None,
) -> dict[str, Any]:
    """Run a likelihood in the plates images, pairs and particles, as many as the latents' shape requires.

    Returns:
        Its sample sites by name, less those that Pyro keeps for plates and deterministic values.
    """
    with poutine.trace() as traced, ExitStack() as plates:
        for depth, size in enumerate(reversed(latent.shape[:-1])):
            plates.enter_context(pyro.plate(_PLATES[depth], size, dim=-1 - depth))
        likelihood(latent, scale, target)
    return {name: site for name, site in traced.trace.nodes.items() if _is_stochastic(site)}


def log_prob(site: Any) -> Tensor:
    """Return a site's log-probability, scaled and masked like the program."""
    found = site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"])
    return scale_and_mask(found, scale=site["scale"], mask=site["mask"])


def inputs(dim: int, dtype: torch.dtype = torch.float64, seed: int = 0, shape: tuple[int, ...] = ()) -> list[Tensor]:
    """Return latent, scale and target of N = `images` images, each (..., N, D); scales between 0.3 and 1.2."""
    generator = torch.Generator().manual_seed(seed)
    latent, raw, target = torch.randn(3, *shape, images(dim), dim, generator=generator, dtype=torch.float64)
    return [latent.to(dtype), (0.3 + 0.9 * torch.sigmoid(raw)).to(dtype), target.to(dtype)]


def observed_sites(subject: Subject, dim: int | None = None) -> dict[str, Any]:
    """Return the sites of the likelihood under test on ordinary inputs, in float64."""
    dim = subject.dim if dim is None else dim
    return sites_of(subject.part(dim), *inputs(dim))


def base_measure(subject: Subject) -> str:
    """Return the likelihood's base measure; empty if it has none."""
    return str(getattr(subject.part(), "base_measure", None) or "")


def vector_sites(sites: dict[str, Any]) -> dict[str, Any]:
    """Return the sites that observe a vector per image, by name."""
    return {
        name: site for name, site in sites.items() if len(site["fn"].event_shape) == 1 and site["fn"].event_shape[0]
    }


def parameters(part: Any) -> dict[str, Tensor]:
    """Return the learned values of a part, by name."""
    return dict(part.named_parameters()) if isinstance(part, nn.Module) else {}


def check_gradients(function: Callable[[], Sequence[Tensor]], given: dict[str, Tensor], what: str) -> None:
    """Compare gradients with finite differences, tensor by tensor along random directions, in float64.

    Differences are of fourth order with a step of 1e-5 times a direction of length 1, so their own error is about 1e-11
    of what is differentiated.

    Raises:
        Failed: if they differ.
    """
    given = {name: tensor for name, tensor in given.items() if tensor.requires_grad}
    outputs = function()
    weights = [torch.randn_like(one) for one in outputs]

    def combined(values: Sequence[Tensor]) -> Tensor:
        return torch.stack([(weight * value).sum() for weight, value in zip(weights, values, strict=True)]).sum()

    total = combined(outputs)
    if not total.requires_grad:
        raise Failed(f"expected {what} to have a gradient, got none; look for a detach or no_grad.")
    gradients = torch.autograd.grad(total, list(given.values()), allow_unused=True, materialize_grads=True)
    scale = sum(float((weight * value).detach().abs().sum()) for weight, value in zip(weights, outputs, strict=True))
    for (name, tensor), gradient in zip(given.items(), gradients, strict=True):
        for _ in range(2):
            direction = torch.randn_like(tensor)
            direction /= direction.norm()
            slope = float((gradient * direction).sum())
            found = _difference(lambda: combined(function()), tensor, direction)
            if not abs(slope - found) <= 1e-6 * (abs(slope) + abs(found)) + 1e-8 * (1 + scale):
                raise Failed(
                    f"expected the gradient of {what} with respect to {name} to agree with finite differences, got "
                    f"{slope:.6g} along a random direction instead of {found:.6g}; look for a detach, a custom "
                    f"backward pass, single precision, or randomness."
                )


def _difference(function: Callable[[], Tensor], tensor: Tensor, direction: Tensor, step: float = 1e-5) -> float:
    """Return the derivative of a function along a direction of one of its tensors."""
    start, total = tensor.detach().clone(), 0.0
    with torch.no_grad():
        for times, weight in ((1, 8), (-1, -8), (2, -1), (-2, 1)):
            tensor.copy_(start + times * step * direction)
            total += weight * float(function())
        tensor.copy_(start)
    return total / (12 * step)


def non_finite(tensor: Tensor) -> Tensor:
    """Return which rows along the first dimension hold a number that is not finite, as indices."""
    return (~torch.isfinite(tensor)).reshape(len(tensor), -1).any(-1).nonzero().flatten()


def within(value: Tensor, error: Tensor, what: str, advice: str) -> None:
    """Check that Monte Carlo integrals equal one, within five standard errors.

    Raises:
        Failed: if an integral differs from one by more.
        NotRun: if there are too few draws.
    """
    off = ~((value - 1).abs() <= 5 * error)
    if off.any():
        worst = int((value - 1).abs().nan_to_num(torch.inf).argmax())
        raise Failed(
            f"expected {what} to integrate to one, got {value.flatten()[worst].item():.4g} ± "
            f"{error.flatten()[worst].item():.1g}; {advice}."
        )
    if (error > 0.1).any():
        raise NotRun(f"draws cannot estimate the integral of {what} in this many dimensions; check at 2 or 3 as well")


def _is_stochastic(site: Any) -> bool:
    return (
        site["type"] == "sample"
        and not poutine.util.site_is_subsample(site)
        and not (site["infer"] or {}).get("_deterministic")
    )
