"""The symmetric conditional ELBO: each view predicts every other view. Twin of `vje_ppl.program.objective`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro
from jax import random
from jaxtyping import Array, Float
from numpyro import handlers
from numpyro.infer.elbo import ELBO

from vje_ppl.numpyro_port.sites import site_terms

#: Batch dimensions of a site, from the right: images (declared by the programs), then the two declared here.
_PAIRS, _PARTICLES = -2, -3


class ObjectiveTerms(NamedTuple):
    """The loss, and its terms for each ordered pair and image, shape (pairs, N), in nats.

    For `objective`, `elbo` and `log_likelihood`, higher is better. The latent has shape ([particles,] pairs, N, D).
    """

    loss: Float[Array, ""]
    objective: Float[Array, "pairs N"]
    elbo: Float[Array, "pairs N"]
    log_likelihood: dict[str, Float[Array, "pairs N"]]
    kl: Float[Array, "pairs N"]
    target: Float[Array, "pairs N D"]
    scale: Float[Array, "pairs N D"]
    latent: Float[Array, "*particles pairs N D"]


class SymmetricConditionalELBO(ELBO):
    """The mean over ordered pairs of views of one conditional direction a→b:

        E_{q_a}[log p(z_b | s, σ_a)] − β KL(q_a ‖ prior)

    with z_b a detached, fixed observation. One vectorized trace of guide and model covers all pairs and particles. The
    KL is in closed form if one is registered, and a Monte Carlo estimate otherwise.

    Use it like NumPyro's own ELBOs, as `loss(rng_key, params, model, guide, posteriors, embeddings)`, or call `terms`.

    Args:
        beta: weight β ≥ 0 of the KL.
        num_particles: posterior draws per image and pair.
        detach_target: whether the target is a fixed observation, as in the paper; `False` is for ablation.

    Raises:
        ValueError: if β is negative or not finite, or the number of particles is not a whole number of at least 1.

    Source: the symmetric conditional ELBO with stop-gradient targets: the paper. β ≠ 1 appears in its figure 4; more
    than two views, and the division of the loss by D, are ours.
    """

    def __init__(self, beta: float = 1.0, num_particles: int = 1, detach_target: bool = True) -> None:
        if not 0 <= beta < math.inf or not 1 <= num_particles < math.inf or num_particles % 1:
            raise ValueError(
                "SymmetricConditionalELBO expects beta >= 0 and num_particles >= 1, got "
                f"{beta} and {num_particles}; beta must be finite, and num_particles a whole number."
            )
        super().__init__(num_particles=num_particles)
        self.beta = beta
        self.detach_target = detach_target

    def terms(
        self, rng_key: jax.Array, model: Callable, guide: Callable, posteriors: Sequence[Any], embeddings: Sequence[Any]
    ) -> ObjectiveTerms:
        """Return the loss and its parts on one batch.

        Args:
            rng_key: random key for the posterior draws.
            model: `model(posterior, target)`.
            guide: `guide(posterior, target)`.
            posteriors: for each view, a pytree of arrays (N, ...) with a `scale` (N, D).
            embeddings: for each view, shape (N, D).

        Returns:
            `ObjectiveTerms`.

        Raises:
            ValueError: for fewer than two views.
        """
        if len(embeddings) < 2 or len(posteriors) != len(embeddings):
            raise ValueError(
                f"The symmetric conditional ELBO expects posteriors and embeddings of the same two or more views, got "
                f"{len(posteriors)} and {len(embeddings)}."
            )
        pairs = list(permutations(range(len(embeddings)), 2))
        posterior = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[posteriors[source] for source, _ in pairs])
        target = jnp.stack([embeddings[other] for _, other in pairs])
        target = jax.lax.stop_gradient(target) if self.detach_target else target
        model_trace, guide_trace = self._get_trace(rng_key, model, guide, (posterior, target))
        log_likelihood, kl, latent = site_terms(model_trace, guide_trace)
        log_likelihood = {name: self._particle_mean(term) for name, term in log_likelihood.items()}
        kl = self._particle_mean(kl)
        likelihood = jnp.stack(list(log_likelihood.values())).sum(0)
        objective = likelihood - self.beta * kl
        return ObjectiveTerms(
            loss=-objective.mean() / target.shape[-1],
            objective=objective,
            elbo=likelihood - kl,
            log_likelihood=log_likelihood,
            kl=kl,
            target=target,
            scale=posterior.scale,
            latent=latent,
        )

    def loss_with_mutable_state(
        self, rng_key: jax.Array, param_map: dict[str, Any], model: Callable, guide: Callable, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """Return the loss, in nats per dimension, under the given parameters, as NumPyro's `loss` expects it."""
        model, guide = (handlers.substitute(program, data=param_map) for program in (model, guide))
        return {"loss": self.terms(rng_key, model, guide, *args, **kwargs).loss, "mutable_state": None}

    def _particle_mean(self, term: jax.Array) -> jax.Array:
        """Average a term (particles, pairs, N) over particles; return a term without particles unchanged."""
        return term.mean(0) if term.ndim > -_PAIRS else term

    def _get_trace(self, rng_key: jax.Array, model: Callable, guide: Callable, args: tuple) -> tuple[Any, Any]:
        """Trace the guide, and the model replayed against it, in a plate over the pairs of views."""
        key_model, key_guide = random.split(rng_key)

        def vectorized(program: Callable) -> Callable:
            program = numpyro.plate("pairs", len(args[1]), dim=_PAIRS)(program)
            if self.num_particles == 1:
                return program
            return numpyro.plate("particles", self.num_particles, dim=_PARTICLES)(program)

        guide_trace = handlers.trace(handlers.seed(vectorized(guide), key_guide)).get_trace(*args)
        model = handlers.seed(handlers.replay(vectorized(model), guide_trace), key_model)
        model_trace = handlers.trace(model).get_trace(*args)
        return model_trace, guide_trace
