"""The checks of a distribution."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from vje_ppl.testing.density import Density, unvalidated
from vje_ppl.testing.draws import draws_follow_the_density, draws_lie_in_the_support, gradient_through_draws_is_right
from vje_ppl.testing.moments import (
    cdf_is_right,
    entropy_is_right,
    integrates_to_one,
    kl_is_right,
    mean_is_right,
    variance_is_right,
)
from vje_ppl.testing.precision import float32_keeps_its_digits, gradient_is_right, mixed_precisions_agree
from vje_ppl.testing.report import Failed, NotRun, Report, described
from vje_ppl.testing.run import Checks, report


def check_distribution(build: Callable[..., Any], parameters: Mapping[str, Any], batched: bool = True) -> Report:
    """Run every check of a continuous distribution, of torch or Pyro, on your own distribution.

    Its density is over Lebesgue measure on its support, of a dimension less for a simplex, as in torch; and over the
    surface of the unit sphere, if the support is `pyro.distributions.constraints.sphere`.

    Args:
        build: the class, or a function, that makes the distribution of its parameters by name.
        parameters: settings to check it at, each parameter a tensor or list of shape (N, ...) for N ≥ 2 of them. Whole
            numbers are not converted; others are tried in float32 and float64.
        batched: whether it takes a batch of settings. If not, there is a single setting, of shape (...).

    Returns:
        A report; printed, it has a line per check.

    Raises:
        ConformanceError: if a check fails, an `AssertionError`; it names each failed check, with what was expected,
            what came and what to do.
        ValueError: for a distribution that is already built, or settings of different numbers.

    Example:
        >>> report = check_distribution(torch.distributions.Normal, {"loc": [0.0, 3.0], "scale": [1.0, 0.01]})
        >>> print(str(report).splitlines()[0])
        Normal passes 18 of 18 checks:
    """
    if not callable(build) or isinstance(build, torch.distributions.Distribution):
        raise ValueError(
            f"check_distribution expects a class or a function of the parameters, got {type(build).__name__} that is "
            "already built; give check_distribution(MyDistribution, {'loc': ..., 'scale': ...})."
        )
    tensors = {name: torch.as_tensor(one) for name, one in parameters.items()}
    numbers = {one.shape[:1] for one in tensors.values()}
    if batched and (len(numbers) != 1 or min(map(sum, numbers)) < 2):
        shapes = {name: tuple(one.shape) for name, one in tensors.items()}
        raise ValueError(
            f"check_distribution expects parameters of shape (N, ...), with N >= 2 settings, got {shapes}; stack "
            "several settings, or pass batched=False."
        )
    name = getattr(build, "__name__", "").removeprefix("<lambda>") or "The distribution"
    return report(DISTRIBUTION_CHECKS, Density(build, tensors, batched, name))


def is_a_density(density: Density) -> None:
    """Check that it can be built, and has a support, a continuous one."""
    try:
        made = density.build(density.parameters())
    except Exception as error:
        names = ", ".join(density.parameters())
        raise Failed(
            f"expected a distribution of the parameters {names}, got {described(error)}; give valid values of its "
            f"parameters, by name."
        ) from error
    try:
        support = made.support
    except NotImplementedError:
        raise Failed(
            "expected a support, got none; write support = pyro.distributions.constraints.real, or the constraint that "
            "holds."
        ) from None
    try:
        made.sample()
    except NotImplementedError:
        raise Failed("expected draws, got a NotImplementedError; write sample, or rsample.") from None
    if support.is_discrete:
        raise Failed(f"expected a continuous distribution, got the support {support}; sum its masses instead.")


@unvalidated
def has_the_shapes(density: Density) -> None:
    """Check that settings are its batch, and draws and log-probabilities have the shapes that follow from that."""
    made = density.build(density.parameters())
    batch = (density.settings,) if density.batched else ()
    if made.batch_shape != batch:
        raise Failed(
            f"expected batch shape {batch} for this many settings, got {tuple(made.batch_shape)}; pass the parameters' "
            f"broadcast shape to torch's constructor."
        )
    draws = made.sample((7, 1))
    if draws.shape != (7, 1, *batch, *made.event_shape):
        raise Failed(
            f"expected draws of shape {(7, 1, *batch, *made.event_shape)} for sample((7, 1)), got "
            f"{tuple(draws.shape)}; draw self._extended_shape(sample_shape) numbers."
        )
    found = made.log_prob(draws)
    if found.shape != (7, 1, *batch):
        raise Failed(
            f"expected one log-probability per draw, shape {(7, 1, *batch)}, got {tuple(found.shape)}; sum over the "
            "dimensions of the event, and no others."
        )


@unvalidated
def settings_do_not_meet(density: Density) -> None:
    """Check that a batch's settings have the density they have alone, and that parameters broadcast."""
    if not density.batched:
        raise NotRun("it takes only one setting")
    parameters, count = density.parameters(), density.settings
    value = density.build(parameters).sample()
    alone = [density.build({name: one[i] for name, one in parameters.items()}).log_prob(value[i]) for i in range(count)]
    _expect_equal(density.build(parameters).log_prob(value), torch.stack(alone), "log-probabilities of a batch")
    for name in parameters if len(parameters) > 1 else ():
        crossed = density.build({**parameters, name: parameters[name].unsqueeze(1)})
        what = f"with '{name}' of batch shape ({count}, 1) and the rest of ({count},)"
        if crossed.batch_shape != (count, count):
            raise Failed(
                f"expected batch shape {(count, count)} {what}, got {tuple(crossed.batch_shape)}; use "
                "torch.broadcast_shapes."
            )
        mixed = density.build({**{key: one[-1] for key, one in parameters.items()}, name: parameters[name][0]})
        found = crossed.log_prob(value)
        _expect_equal(found[0, -1], mixed.log_prob(value[-1]), f"the log-probability {what}")


@unvalidated
def expands(density: Density) -> None:
    """Check that expanded, once and again, it has the same density and moments, and other draws for every element."""
    made = density.build(density.parameters())
    value = made.sample((3, 1))
    wide = made.expand((4, *made.batch_shape)).expand((3, 4, *made.batch_shape))
    if (wide.batch_shape, wide.event_shape) != ((3, 4, *made.batch_shape), made.event_shape):
        raise Failed(
            f"expected batch shape {(3, 4, *made.batch_shape)} and event shape {tuple(made.event_shape)} after expand, "
            f"got {tuple(wide.batch_shape)} and {tuple(wide.event_shape)}; expand every parameter."
        )
    _expect_equal(wide.log_prob(value), made.log_prob(value).expand(wide.batch_shape), "log-probabilities after expand")
    if wide.has_rsample != made.has_rsample:
        raise Failed(
            f"expected has_rsample = {made.has_rsample} after expand, as before, got {wide.has_rsample}; copy it to "
            "the expanded distribution."
        )
    for name in ("mean", "variance"):
        with suppress(NotImplementedError):
            once = getattr(made, name)
            _expect_equal(getattr(wide, name), once.expand(wide.batch_shape + made.event_shape), f"{name} after expand")
    draws = wide.sample((500,))
    if draws.shape != (500, *wide.batch_shape, *made.event_shape):
        raise Failed(f"expected draws of shape {(500, *wide.batch_shape)} and an event, got {tuple(draws.shape)}.")
    if torch.equal(draws[:, 0, 0], draws[:, 1, 1]):
        raise Failed(
            "expected independent draws for every element of an expanded batch, got equal draws; draw after expanding."
        )
    ours, theirs = wide.log_prob(draws).flatten(0, 2), made.log_prob(made.sample((6000,)))
    error = ((ours.var(0) + theirs.var(0)) / 6000).sqrt()
    off = (ours.mean(0) - theirs.mean(0)).abs() > 5 * error + 1e-9 * (1 + theirs.mean(0).abs())
    if off.any():
        raise Failed(
            f"expected draws after expand to have a mean log-probability of {theirs.mean(0)[off][0].item():.4g} ± "
            f"{error[off][0].item():.1g}, as before, got {ours.mean(0)[off][0].item():.4g}; copy everything that "
            f"sample reads to the expanded distribution."
        )


@unvalidated
def copies(density: Density) -> None:
    """Check that a deep copy and a pickled copy have the same density."""
    made = density.build(density.parameters())
    value = made.sample((3,))
    for how, copied in (("copy.deepcopy", copy.deepcopy), ("pickle", lambda one: pickle.loads(pickle.dumps(one)))):
        try:
            other = copied(density.build(density.parameters()))
        except Exception as error:
            raise Failed(
                f"expected {how} to copy it, got {described(error)}; define classes at the top of a module, and store "
                f"no lambda or autograd graph."
            ) from error
        _expect_equal(other.log_prob(value), made.log_prob(value), f"log-probabilities after {how}")


def refuses_what_is_no_number(density: Density) -> None:
    """Check that validation, Pyro's default, refuses the log-probability of NaN."""
    made = density.build(density.parameters())
    try:
        found = made.log_prob(torch.full_like(made.sample(), torch.nan))
    except ValueError:
        return
    raise Failed(
        f"expected a ValueError for the log-probability of NaN with validation on, got {found.flatten()[0].item()}; "
        "begin log_prob with: if self._validate_args: self._validate_sample(value)."
    )


def _expect_equal(found: Tensor, expected: Tensor, what: str) -> None:
    if found.shape != expected.shape:
        raise Failed(f"expected {what} of shape {tuple(expected.shape)}, got {tuple(found.shape)}; broadcast them.")
    off = ~torch.isclose(found, expected, rtol=1e-10, atol=1e-10, equal_nan=True)
    if off.any():
        raise Failed(
            f"expected {what} to equal those computed separately, {expected[off][0].item():.8g}, got "
            f"{found[off][0].item():.8g}; reduce only over the dimensions of the event, and expand every parameter."
        )


DISTRIBUTION_CHECKS = Checks(
    structure=(is_a_density, has_the_shapes, draws_lie_in_the_support),
    behaviour=(
        settings_do_not_meet,
        expands,
        copies,
        refuses_what_is_no_number,
        integrates_to_one,
        draws_follow_the_density,
        gradient_through_draws_is_right,
        gradient_is_right,
        float32_keeps_its_digits,
        mixed_precisions_agree,
        mean_is_right,
        variance_is_right,
        entropy_is_right,
        cdf_is_right,
        kl_is_right,
    ),
)
