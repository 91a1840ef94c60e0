"""A distribution under test: built again for every check, with its support as real numbers or as the sphere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, wraps
from typing import Any

import pyro
import torch
from jaxtyping import Float
from pyro.distributions import constraints
from torch import Tensor
from torch.distributions import biject_to

from vje_ppl.testing import integral
from vje_ppl.testing.nodes import Nodes, by_angle, on_circle_or_sphere, on_line_or_plane
from vje_ppl.testing.report import NotRun

#: How far from the median unconstrained numbers reach where a support has an end: e^60 and its inverse.
_REACH = 60.0


def unvalidated(check: Callable[[Density], None]) -> Callable[[Density], None]:
    """Run a check without Pyro's validation, for points that rounding or a small step takes off the support."""

    @wraps(check)
    def checked(density: Density) -> None:
        with pyro.validation_enabled(False):
            check(density)

    return checked


class Density:
    """A distribution under test, for N settings of its parameters.

    Args:
        build: from parameters by name to a distribution.
        parameters: the settings, each parameter of shape (N, ...), or (...) where `batched` is false.
        batched: whether `build` takes a batch of settings. If not, N = 1.
        name: for messages.

    Attributes:
        name: as given.
        batched: as given.
        settings: N.
    """

    def __init__(self, build: Callable[..., Any], parameters: Mapping[str, Tensor], batched: bool, name: str) -> None:
        self._build, self._parameters, self.batched, self.name = build, dict(parameters), batched, name
        self.settings = len(next(iter(self._parameters.values()))) if batched else 1

    def parameters(self, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
        """Return copies of the parameters; those of a floating-point type in another of the kind."""
        return {
            name: _unit_again(one.detach().double()).to(dtype) if one.is_floating_point() else one.clone()
            for name, one in self._parameters.items()
        }

    def build(self, parameters: Mapping[str, Tensor]) -> Any:
        """Return the distribution as constructed."""
        return self._build(**parameters)

    def distribution(self, dtype: torch.dtype = torch.float64) -> Any:
        """Return the distribution of batch shape (N,)."""
        return self.batch(self.parameters(dtype))

    def batch(self, parameters: Mapping[str, Tensor]) -> Any:
        """Build a distribution of batch shape (N,), like `build`."""
        made = self.build(parameters)
        return made if self.batched else made.expand((1,))

    def words(self, setting: int) -> str:
        """Return a setting in words, such as "df = 2, scale = 0.5", without parameters of more than four numbers."""
        values = {name: one[setting] if self.batched else one for name, one in self._parameters.items()}
        short = {name: one for name, one in values.items() if one.numel() <= 4}
        numbers = {name: ", ".join(f"{number:.4g}" for number in one.flatten().tolist()) for name, one in short.items()}
        words = [f"{name} = {numbers[name] if one.dim() == 0 else f'({numbers[name]})'}" for name, one in short.items()]
        return ", ".join(words) or f"setting {setting}"

    @cached_property
    def features(self) -> int:
        """How many numbers a value is made of, as far as they are free: D − 1 on the sphere of R^D."""
        made = self.distribution()
        return made.event_shape[0] - 1 if is_on_sphere(made) else Unconstrained(made).event_shape[0]

    @cached_property
    def draws(self) -> Float[Tensor, "M N *event"]:
        """20,000 draws, the same for all checks of moments."""
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(2)
            return self.distribution().sample((20_000,))

    @cached_property
    def is_zonal(self) -> bool:
        """Whether it is on the sphere and depends only on the angle to its mean."""
        made = self.distribution()
        with torch.random.fork_rng(devices=[]):
            return is_on_sphere(made) and integral.is_zonal(made.log_prob, axis_of(made))

    @cached_property
    def nodes(self) -> Nodes | None:
        """Points over the support and their volumes, where quadrature can reach: points of shape (M, N, *event).

        That is for one or two free numbers, and on the sphere of any dimension for a density that depends on the angle
        to its mean alone.
        """
        made = self.distribution()
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(1)
            if self.is_zonal:
                return by_angle(axis_of(made))
            if is_on_sphere(made):
                return on_circle_or_sphere(self.settings, made.event_shape[0]) if self.features <= 2 else None
            free = Unconstrained(made)
            if free.event_shape[0] > 2:
                return None
            centre, spread = centre_and_spread(free.sample((2000,)))
            nodes = on_line_or_plane(centre, spread, None if free.is_identity else _REACH)
            points, log_det = free.constrained(nodes.points)
            return nodes._replace(points=points, log_volume=nodes.log_volume + log_det)

    @cached_property
    def log_mass(self) -> Float[Tensor, "M N"]:
        """Log of the probability at each node, −∞ where rounding has taken a point out of the support."""
        assert self.nodes is not None
        with torch.no_grad():
            log_mass = self.distribution().log_prob(self.nodes.points) + self.nodes.log_volume
        return log_mass.nan_to_num(-torch.inf, posinf=torch.inf)

    def mean_over_nodes(self, values: Float[Tensor, "M N *event"]) -> tuple[Tensor, Tensor]:
        """Return the expectation of a function, given its values at the nodes, and its error; shapes (N, *event)."""
        nodes, mass = self.nodes, self.log_mass.exp()
        assert nodes is not None
        mass = mass.reshape(*mass.shape, *(1,) * (values.dim() - 2))
        terms = torch.where(mass > 0, mass * values, 0.0)
        fine = terms.sum(0)
        return fine, (fine - terms[nodes.coarse].sum(0) * torch.tensor(nodes.growth).exp()).abs()


class Unconstrained:
    """A distribution's values as D real numbers, by the bijection that torch has for its support.

    Args:
        distribution: of batch shape (N,).

    Attributes:
        is_identity: whether the support is R or R^D itself.
        event_shape: (D,).

    Raises:
        NotRun: if no bijection is registered.
    """

    def __init__(self, distribution: Any) -> None:
        self.distribution = distribution
        try:
            self._transform = biject_to(distribution.support)
        except NotImplementedError as error:
            raise NotRun(
                f"torch has no bijection to the support {distribution.support}; register one with "
                "torch.distributions.biject_to.register, or use a support that has one"
            ) from error
        whole = self._transform.inverse_shape(distribution.batch_shape + distribution.event_shape)
        self._shape = torch.Size(whole[len(distribution.batch_shape) :])
        self.batch_shape, self.event_shape = distribution.batch_shape, torch.Size([self._shape.numel()])
        numbers = torch.linspace(-2, 2, max(1, self.event_shape[0]), dtype=torch.float64).reshape(self._shape)
        self.is_identity = distribution.event_shape == self._shape and torch.equal(self._transform(numbers), numbers)

    def sample(self, sample_shape: Any = ()) -> Float[Tensor, "*draws D"]:
        """Draw real numbers, shape (..., N, D)."""
        return self.free(self.distribution.sample(torch.Size(sample_shape)))

    def free(self, value: Tensor) -> Float[Tensor, "*draws D"]:
        """Return values as real numbers."""
        numbers = self._transform.inv(value)
        return numbers.reshape(*numbers.shape[: numbers.dim() - len(self._shape)], -1)

    def constrained(self, numbers: Float[Tensor, "*draws D"]) -> tuple[Tensor, Tensor]:
        """Return values from real numbers, and log |det| of the Jacobian, shape (...)."""
        free = numbers.reshape(*numbers.shape[:-1], *self._shape)
        value = self._transform(free)
        log_det = self._transform.log_abs_det_jacobian(free, value)
        return value, log_det.reshape(*numbers.shape[:-1], -1).sum(-1)

    def log_prob(self, numbers: Float[Tensor, "*draws D"]) -> Float[Tensor, "*draws"]:
        """Log density in nats over R^D."""
        value, log_det = self.constrained(numbers)
        return self.distribution.log_prob(value) + log_det


def _unit_again(vectors: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Normalize unit vectors that were rounded to float32; leave others as they are."""
    lengths = vectors.norm(dim=-1, keepdim=True) if vectors.dim() else torch.zeros(1)
    return vectors / lengths if ((lengths - 1).abs() < 1e-6).all() else vectors


def is_on_sphere(distribution: Any) -> bool:
    """Return whether the support is `pyro.distributions.constraints.sphere`."""
    return isinstance(distribution.support, type(constraints.sphere))


def axis_of(distribution: Any) -> Float[Tensor, "N D"]:
    """Return the directions of the means, and the first axis for a distribution without one."""
    try:
        mean = distribution.mean
    except (NotImplementedError, AttributeError):
        mean = distribution.sample((2000,)).mean(0)
    first = torch.zeros_like(mean)
    first[..., 0] = 1
    return torch.where(mean.norm(dim=-1, keepdim=True) > 1e-9, torch.nn.functional.normalize(mean, dim=-1), first)


def centre_and_spread(draws: Float[Tensor, "M N D"]) -> tuple[Float[Tensor, "N D"], Float[Tensor, "N D"]]:
    """Return medians and interquartile ranges."""
    low, middle, high = draws.quantile(draws.new_tensor([0.25, 0.5, 0.75]), dim=0)
    return middle, (high - low).clamp_min(torch.finfo(draws.dtype).tiny)
