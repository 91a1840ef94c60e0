"""Checks of the digits and gradients of log-probabilities."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vje_ppl.testing.density import Density, Unconstrained, centre_and_spread, is_on_sphere, unvalidated
from vje_ppl.testing.draws import along
from vje_ppl.testing.report import Failed, NotRun
from vje_ppl.testing.traced import check_gradients

#: Roundings that each number in a log-probability may have gone through.
_ROUNDINGS = 16


@unvalidated
def gradient_is_right(density: Density) -> None:
    """Check gradients of the log-probability by the value and every parameter with finite differences.

    Steps are in units of the spread of draws, in unconstrained space but on the sphere; and of each parameter, or of
    what moves the log-probability by one, if that is less.
    """
    parameters, made = density.parameters(), density.distribution()
    free = None if is_on_sphere(made) else Unconstrained(made)
    draws = made.sample((200,)) if free is None else free.sample((200,))
    start, spread = draws[0], centre_and_spread(draws)[1]
    at = start if free is None else free.constrained(start)[0]
    units = _units(density, parameters, at.detach())
    given = {"the value": torch.zeros_like(start)}
    given |= {name: torch.zeros_like(one) for name, one in parameters.items() if one.is_floating_point()}
    given = {name: one.requires_grad_() for name, one in given.items()}

    def log_prob() -> list[Tensor]:
        moved = {name: one + given[name] * units[name] if name in given else one for name, one in parameters.items()}
        value = start + spread * given["the value"]
        return [density.batch(moved).log_prob(value if free is None else free.constrained(value)[0])]

    check_gradients(log_prob, given, "the log-probability")


def _units(density: Density, parameters: Mapping[str, Tensor], value: Tensor) -> dict[str, Tensor]:
    """Return the step that each number of each parameter takes in a unit."""
    given = {name: one.detach().requires_grad_() for name, one in parameters.items() if one.is_floating_point()}
    log_prob = density.batch({**parameters, **given}).log_prob(value).sum()
    if not log_prob.requires_grad:
        return {name: torch.ones_like(one) for name, one in given.items()}
    slopes = torch.autograd.grad(log_prob, list(given.values()), allow_unused=True, materialize_grads=True)
    return {
        name: torch.where(one == 0, 1.0, one.abs()).detach().minimum(1 / slope.abs())
        for (name, one), slope in zip(given.items(), slopes, strict=True)
    }


@unvalidated
def float32_keeps_its_digits(density: Density) -> None:
    """Check that float32 agrees with float64 for the same rounded numbers, as far as these determine the result.

    With ε the spacing of float32, log p the result and z all that goes in, the value and the parameters, the two may
    differ by 16 ε (D + |log p| + Σ |z ∂ log p/∂z|): as much as if each of these had been rounded 16 times. On the
    sphere, directions are taken along it.
    """
    parameters = density.parameters(torch.float32)
    made = density.batch(parameters)
    value = made.sample((8,))
    found = made.log_prob(value)
    if found.dtype != torch.float32:
        raise Failed(
            f"expected float32 log-probabilities of float32 parameters and values, got {found.dtype}; make constants "
            "with new_tensor, or as Python's numbers."
        )
    wide = {name: one.double() if one.is_floating_point() else one for name, one in parameters.items()}
    exact, allowed = _determined(density, wide, value.double(), torch.finfo(torch.float32).eps)
    _compare(density, found, exact, allowed, "float32 log-probabilities to be those in float64")


@unvalidated
def mixed_precisions_agree(density: Density) -> None:
    """Check that a single parameter in float64, with the rest in float32, gives float32's digits."""
    narrow = density.parameters(torch.float32)
    wide = {name: one.double() for name, one in narrow.items() if one.is_floating_point()}
    if len(wide) < 2:
        raise NotRun("it has only one parameter")
    value = density.batch(narrow).sample((8,))
    exact, allowed = _determined(density, {**narrow, **wide}, value.double(), torch.finfo(torch.float32).eps)
    for name in wide:
        try:
            found = density.batch({**narrow, name: wide[name]}).log_prob(value)
        except (TypeError, ValueError, RuntimeError) as error:
            first = str(error).splitlines()[0]
            raise NotRun(f"it rejects '{name}' in float64 with the other parameters in float32: {first}") from None
        what = f"log-probabilities with '{name}' in float64 and the rest in float32 to be those in float64"
        _compare(density, found, exact, allowed, what)


def _determined(
    density: Density, parameters: Mapping[str, Tensor], value: Tensor, spacing: float
) -> tuple[Tensor, Tensor]:
    """Return log-probabilities, and how far rounding may take them, a row of values at a time."""
    given = {name: one.detach().requires_grad_() for name, one in parameters.items() if one.is_floating_point()}
    on_sphere = is_on_sphere(density.distribution())
    rows, bounds = [], []
    for row in value:
        row = row.detach().requires_grad_()
        log_prob = density.batch({**parameters, **given}).log_prob(row)
        inputs = [row, *given.values()]
        slopes = torch.autograd.grad(log_prob.sum(), inputs, allow_unused=True, materialize_grads=True)
        moved = torch.zeros_like(log_prob)
        for one, slope in zip(inputs, slopes, strict=True):
            size = (one * along(one, slope, on_sphere)).abs().detach()
            moved = moved + (size.reshape(len(log_prob), -1).sum(-1) if density.batched or one is row else size.sum())
        features = row[0].numel()
        rows.append(log_prob.detach())
        bounds.append(_ROUNDINGS * spacing * (features + log_prob.detach().abs() + moved))
    return torch.stack(rows), torch.stack(bounds)


def _compare(density: Density, found: Tensor, exact: Tensor, allowed: Tensor, what: str) -> None:
    excess = ((found.detach().double() - exact).abs() / allowed).nan_to_num(torch.inf)
    if not excess.max() <= 1:
        draw, setting = divmod(int(excess.argmax()), excess.shape[-1])
        raise Failed(
            f"expected {what}, {exact[draw, setting].item():.9g} ± {allowed[draw, setting].item():.1g}, got "
            f"{found[draw, setting].item():.9g}, for {density.words(setting)}; look for cancellation between large "
            f"terms."
        )
