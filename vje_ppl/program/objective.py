"""The symmetric conditional ELBO: every view explains every other."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from itertools import permutations
from typing import Any, NamedTuple

import pyro
import torch
from jaxtyping import Float
from pyro import poutine
from pyro.infer import ELBO
from pyro.poutine.trace_struct import Trace
from torch import Tensor
from torch.nn.functional import cosine_similarity

from vje_ppl.program.densities import DENSITIES, compiled
from vje_ppl.program.parameter_store import check_registered, check_store, only_registered, register
from vje_ppl.program.sites import site_terms, total

#: Batch dimension of the pairs of views, left of the images, which the programs declare; particles lie left of it.
_PAIRS = -2


class ObjectiveTerms(NamedTuple):
    """The loss and its terms; all per-image terms are in nats, have shape (pairs, N), and higher is better.

    Ordered pairs (a, b) come in the order of `itertools.permutations(range(views), 2)`: for two views, 0→1 and 1→0.

    Attributes:
        loss: what an optimizer minimizes, shape (): minus the mean objective, divided by D; nats per dimension.
        objective: E_q[log p(target | s)] − β KL.
        elbo: the same at β = 1, the evidence lower bound.
        log_likelihood: E_q[log p] of each observed site, by name.
        kl: KL(q ‖ prior), at least 0 in closed form; the only term for which lower is better.
        target: the observed embeddings z_b, shape (pairs, N, D), detached.
        scale: posterior standard deviations σ_a, shape (pairs, N, D), detached.
        latent: posterior draws, shape ([particles,] pairs, N, D), detached.
    """

    loss: Float[Tensor, ""]
    objective: Float[Tensor, "pairs N"]
    elbo: Float[Tensor, "pairs N"]
    log_likelihood: dict[str, Float[Tensor, "pairs N"]]
    kl: Float[Tensor, "pairs N"]
    target: Float[Tensor, "pairs N D"]
    scale: Float[Tensor, "pairs N D"]
    latent: Float[Tensor, "*particles pairs N D"]

    @property
    def embeddings(self) -> Float[Tensor, "pairs N D"]:
        """The observed embeddings, detached."""
        return self.target

    def scalars(self) -> dict[str, Tensor]:
        """Return means over pairs and images, by the name of their column."""
        return {
            "objective": self.objective.mean(),
            "elbo": self.elbo.mean(),
            **{f"log_likelihood/{site}": value.mean() for site, value in self.log_likelihood.items()},
            "kl": self.kl.mean(),
            "posterior_scale": self.scale.mean(),
            "cosine": cosine_similarity(self.latent, self.target.float(), dim=-1).mean(),
        }

    def checked(self) -> dict[str, Tensor]:
        """Return what has to stay finite, on the way from the embedding over the latent to the observed sites."""
        sites = {f"site '{site}'": value for site, value in self.log_likelihood.items()}
        return {"the embedding": self.target, "site 'latent'": self.kl, **sites}


class SymmetricConditionalELBO(ELBO):
    """The mean over ordered pairs of views of one conditional direction a→b:

        E_{q_a}[log p(z_b | s, σ_a)] − β KL(q_a ‖ prior)

    with z_b a detached, fixed observation. It takes models and guides that follow the contract of `vje_ppl.models` and
    `vje_ppl.guides`; the guide's `embed` and `infer` are called once per view, so batch statistics are per view. All
    pairs and particles go through one vectorized trace of guide and model. The KL is in closed form if one is
    registered, Monte Carlo otherwise.

    Works as the loss of `pyro.infer.SVI`, as an `ELBOModule` (call it with model and guide) under a torch optimizer,
    and through `terms`.

    Args:
        beta: weight β ≥ 0 of the KL.
        num_particles: posterior draws per image and pair.
        detach_target: whether the target is a fixed observation, as in the paper; `False` is for ablation.
        compile: whether `torch.compile` fuses the operations within each density and divergence. The values are the
            same up to rounding. The first steps take seconds longer, and a C++ compiler must be installed (on a GPU,
            Triton).

    Raises:
        ValueError: if β is negative or not finite, or the number of particles is not a whole number of at least 1.

    Source: the symmetric conditional ELBO with stop-gradient targets: the paper. β ≠ 1 appears in its figure 4; more
    than two views, and the division of the loss by D, are ours.
    """

    def __init__(
        self, beta: float = 1.0, num_particles: int = 1, detach_target: bool = True, compile: bool = False
    ) -> None:
        if not 0 <= beta < math.inf or not 1 <= num_particles < math.inf or num_particles % 1:
            raise ValueError(
                "SymmetricConditionalELBO expects beta >= 0 and num_particles >= 1, got "
                f"{beta} and {num_particles}; beta must be finite, and num_particles a whole number."
            )
        super().__init__(num_particles=num_particles, vectorize_particles=True, max_plate_nesting=-_PAIRS)
        self.beta = beta
        self.detach_target = detach_target
        self._densities = compiled() if compile else DENSITIES

    def terms(self, model: Callable, guide: Callable, *views: Tensor) -> ObjectiveTerms:
        """Return the loss and its parts on one batch.

        Args:
            model: `model(posterior, target)`.
            guide: `guide(posterior, target)`, with `embed` and `infer`.
            *views: two or more views of the same N images, each (N, ...).

        Returns:
            `ObjectiveTerms`; gradients flow through all but its last three fields.

        Raises:
            ValueError: for views that do not match, or a model or guide that breaks the contract; names the site.
        """
        _check_views(views)
        for program in (model, guide):
            check_store(program)
        amortized = _amortized(guide)
        embeddings = [amortized.embed(view) for view in views]
        posteriors = [amortized.infer(embedding) for embedding in embeddings]
        device_type = embeddings[0].device.type
        with torch.autocast(device_type, enabled=False):
            embeddings = [_at_least_float32(embedding) for embedding in embeddings]
            pairs = list(permutations(range(len(views)), 2))
            posterior = _stack([posteriors[source] for source, _ in pairs])
            target = torch.stack([embeddings[other] for _, other in pairs])
            target = target.detach() if self.detach_target else target
            shape = target.shape[:2]
            model_trace, guide_trace = self._get_vectorized_trace(model, guide, (posterior, target), {})
            draws = self._particle_shape + shape
            log_likelihood, kl, latent = site_terms(model_trace, guide_trace, draws, self._densities)
            log_likelihood = {name: self._particle_mean(term, shape) for name, term in log_likelihood.items()}
            kl = self._particle_mean(kl, shape)
            likelihood = total(list(log_likelihood.values()))
            objective = torch.sub(likelihood, kl, alpha=self.beta)
            return ObjectiveTerms(
                loss=objective.sum() / -(objective.numel() * target.shape[-1]),
                objective=objective,
                elbo=likelihood - kl,
                log_likelihood=log_likelihood,
                kl=kl,
                target=target.detach(),
                scale=posterior.scale.detach(),
                latent=latent.detach(),
            )

    def differentiable_loss(self, model: Callable, guide: Callable, *views: Tensor) -> Float[Tensor, ""]:
        """Return the loss, in nats per dimension, with its graph; what `ELBOModule` calls. Arguments as in `terms`."""
        return self.terms(model, guide, *views).loss

    def loss(self, model: Callable, guide: Callable, *views: Tensor) -> float:
        """Return the loss as a number, without a graph, for `pyro.infer.SVI.evaluate_loss`. Arguments as in `terms`.

        Raises:
            ValueError: if Pyro's parameter store holds other parameters of the same names, such as loaded parameters.
        """
        for name, program in {"model": model, "guide": guide}.items():
            check_registered(name, program)
        with torch.no_grad():
            return self.differentiable_loss(model, guide, *views).item()

    def loss_and_grads(self, model: Callable, guide: Callable, *views: Tensor) -> float:
        """Return the loss as a number, after adding its gradients; what `pyro.infer.SVI.step` calls.

        First registers the parameters of model and guide, in Pyro's parameter store unless the setting
        `module_local_params` keeps them in their modules, because `PyroModule.__call__`, which registers the others,
        does not reach those that `embed` and `infer` use.

        Raises:
            ValueError: if the store holds other parameters of the same names.
        """
        for name, program in {"model": model, "guide": guide}.items():
            register(name, program)
        with only_registered():
            loss = self.differentiable_loss(model, guide, *views)
        if loss.requires_grad:
            loss.backward(retain_graph=self.retain_graph)
        return loss.item()

    @property
    def _particle_shape(self) -> torch.Size:
        return torch.Size([self.num_particles] if self.num_particles > 1 else [])

    def _particle_mean(self, term: Tensor, shape: torch.Size) -> Tensor:
        """Average a term (particles, pairs, N) over particles; return a term without particles unchanged."""
        return term.mean(0) if term.dim() > len(shape) else term

    def _get_trace(self, model: Callable, guide: Callable, args: tuple, kwargs: dict) -> tuple[Trace, Trace]:
        """Trace the guide, and the model replayed against it, in a plate over the pairs of views."""
        pairs = pyro.plate("pairs", len(args[1]), dim=_PAIRS)
        try:
            guide_trace = poutine.trace(pairs(guide)).get_trace(*args, **kwargs)
            model_trace = poutine.trace(poutine.replay(pairs(model), trace=guide_trace)).get_trace(*args, **kwargs)
        except ValueError as error:
            if "Shape mismatch inside plate" in str(error):
                raise ValueError(
                    f"A site does not fit its plates: {str(error).splitlines()[0]}; declare the features as an event "
                    "dimension with .to_event(1), and give one distribution per image."
                ) from error
            raise
        return model_trace, guide_trace


def _check_views(views: tuple[Tensor, ...]) -> None:
    if len(views) < 2:
        raise ValueError(f"The symmetric conditional ELBO expects two or more views of a batch, got {len(views)}.")
    if len({view.shape for view in views}) > 1:
        raise ValueError(
            "The symmetric conditional ELBO expects views of one shape, the same images in the same order, got "
            f"{' and '.join(str(tuple(view.shape)) for view in views)}."
        )


def _amortized(guide: Any) -> Any:
    """Return the guide under its handlers, and check that it has the methods that the objective calls."""
    guide = poutine.unwrap(guide)
    missing = [name for name in ("embed", "infer") if not callable(getattr(guide, name, None))]
    if missing:
        raise ValueError(
            f"The guide {type(guide).__name__} has no {' and no '.join(missing)}; the objective calls embed(view) and "
            "infer(embedding) once per view (see vje_ppl.AmortizedGuide)."
        )
    return guide


def _stack(posteriors: list[Any]) -> Any:
    """Return one posterior with a leading dimension of pairs: tensors are stacked, other values are those of the first.

    The result is in float32 at least, for any precision of the guide.
    """
    first = posteriors[0]
    stacked = {
        field.name: torch.stack([getattr(one, field.name) for one in posteriors])
        for field in fields(first)
        if isinstance(getattr(first, field.name), Tensor)
    }
    return replace(first, **{name: _at_least_float32(tensor) for name, tensor in stacked.items()})


def _at_least_float32(tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
