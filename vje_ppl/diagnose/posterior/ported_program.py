"""A program's prior and likelihood in NumPyro, as densities and draws of plain arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array, Bool, Float
from numpyro import handlers
from torch import Tensor, nn

from vje_ppl.runs.trained_run import TrainedRun
from vje_ppl.settings.twins import build_model, posterior_for_prior, twin

#: Values of the observed sites by name, each (..., N, event).
Observed = dict[str, Any]


class PortedProgram:
    """Prior and likelihood over embeddings, evaluated outside any plate on batches of any shape.

    Observations are held as values of the sites, as the program computes them from a target. So a target drawn from the
    likelihood can be observed too, even if it is not an embedding: the ambient Student-t draws directions off the
    sphere.

    Args:
        prior: called without arguments, returns a NumPyro distribution with event shape (D,).
        likelihood: a NumPyro program `likelihood(latent, scale, target)` that declares the observed sites.
        values: learned parameters by name, for `numpyro.handlers.substitute`.
    """

    def __init__(
        self, prior: Callable[[], Any], likelihood: Callable[..., None], values: Mapping[str, Any] | None = None
    ) -> None:
        self._prior, self._likelihood = prior, likelihood
        self._values = {name: jnp.asarray(value) for name, value in (values or {}).items()}

    @property
    def base_measure(self) -> str:
        """The measure that the likelihood's densities refer to."""
        return str(getattr(self._likelihood, "base_measure", "its own"))

    def prior(self) -> Any:
        """Return the prior, event shape (D,)."""
        return handlers.substitute(self._prior, data=self._values)()

    def log_prior(self, latent: Float[Array, "*batch D"]) -> Float[Array, "*batch"]:
        """Log density of the prior, in nats."""
        return self.prior().log_prob(latent)

    def log_likelihood(
        self, latent: Float[Array, "*batch D"], scale: Float[Array, "*batch2 D"], observed: Observed
    ) -> dict[str, Array]:
        """Log density of each observed site, in nats; shapes broadcast.

        Args:
            latent: s.
            scale: the likelihood's scale.
            observed: values of the sites.
        """
        sites = self._sites(latent, scale, None, observed)
        return {name: site["fn"].log_prob(site["value"]) for name, site in sites.items()}

    def observe(self, scale: Float[Array, "*batch D"], target: Float[Array, "*batch D"]) -> Observed:
        """Return the values of the program's sites for embeddings.

        Args:
            scale: the likelihood's scale.
            target: the embeddings.
        """
        sites = self._sites(target, scale, target, {})
        return {name: site["value"] for name, site in sites.items() if site["is_observed"]}

    def draw_observed(
        self, key: jax.Array, latent: Float[Array, "*batch D"], scale: Float[Array, "*batch D"]
    ) -> Observed:
        """Draw the observed sites from their densities."""
        return {name: site["value"] for name, site in self._sites(latent, scale, None, {}, key).items()}

    def draw_within(
        self, key: jax.Array, latent: Float[Array, "*batch D"], scale: Float[Array, "*batch D"]
    ) -> tuple[Observed, Bool[Array, "*batch"]]:
        """Draw the observed sites, and return whether the draws follow their densities.

        A density that integrates to less than one has no draw for the rest of its probability. It says so by a method
        `sample_within`, as `TangentStudentT` does.
        """
        observed, within = {}, jnp.ones(latent.shape[:-1], bool)
        for place, (name, site) in enumerate(self._sites(latent, scale, None, {}, key).items()):
            observed[name] = site["value"]
            if hasattr(site["fn"], "sample_within"):
                observed[name], within_one = site["fn"].sample_within(random.fold_in(key, place))
                within = within & within_one
        return observed, within

    def with_reference(self) -> PortedProgram:
        """Return the program whose direction has the reference density, if it has a subdensity; or the program itself.

        Draws follow the reference density, not the subdensity below it that training maximizes. A likelihood that has
        both has an attribute `reference`, as `PolarTangentStudentT` does.
        """
        if getattr(self._likelihood, "reference", True):
            return self
        likelihood: Any = copy(self._likelihood)
        likelihood.reference = True
        return PortedProgram(self._prior, likelihood, self._values)

    def _sites(
        self, latent: Any, scale: Any, target: Any, given: Observed, key: jax.Array | None = None
    ) -> dict[str, Any]:
        program = handlers.substitute(self._likelihood, data={**self._values, **given})
        seeded = handlers.seed(program, random.key(0) if key is None else key)
        trace = handlers.trace(seeded).get_trace(latent, scale, target)
        return {name: site for name, site in trace.items() if site["type"] == "sample"}


def ported_program(run: TrainedRun) -> PortedProgram:
    """Return the NumPyro twin of a trained run's prior and likelihood, with its learned values.

    Raises:
        UserError: if a part has no twin.
    """
    model, guide = run.program.model, run.program.guide
    port, values = build_model(run.config, guide.dim, model)
    asked = posterior_for_prior(model.prior, guide.infer)
    if asked is not None:
        port.prior.bind(lambda _: _posterior_twin(asked))
    return PortedProgram(port.prior, port.likelihood, values)


def _posterior_twin(posterior: Any) -> Any:
    """Convert a posterior in torch, modules included, to JAX."""
    fields: dict[str, Any] = {}
    for name, value in vars(posterior).items():
        if isinstance(value, Tensor):
            fields[name] = jnp.asarray(_array(value))
        elif isinstance(value, nn.Module):
            parameters = {path: jnp.asarray(_array(one)) for path, one in value.named_parameters()}
            fields[name] = twin(type(value))(parameters)
    return twin(type(posterior))(**fields)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()
