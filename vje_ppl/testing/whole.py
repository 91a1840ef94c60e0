"""Checks of a part together with the others, in the objective."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from vje_ppl.program.noise import KeyedNoise
from vje_ppl.program.objective import ObjectiveTerms, SymmetricConditionalELBO
from vje_ppl.testing.report import Failed
from vje_ppl.testing.subject import Subject
from vje_ppl.testing.traced import check_gradients


def works_in_the_objective(subject: Subject) -> None:
    """Check that objective and gradients are finite, in both precisions, with one particle and with three."""
    for dtype in (torch.float32, torch.float64):
        for particles in (1, 3):
            check_objective(subject, dtype, particles)


def check_objective(subject: Subject, dtype: torch.dtype, particles: int) -> ObjectiveTerms:
    """Return one evaluation of the objective with its gradient.

    Raises:
        Failed: if a term has the wrong shape or precision or is not finite, or if a parameter is not learned or not
            registered.
    """
    module = subject.whole(dtype=dtype)
    views = subject.views(dtype=dtype)
    objective = SymmetricConditionalELBO(module.elbo.beta, particles)
    terms = objective.terms(module.model, module.guide, *views)
    named = {"objective": terms.objective, "elbo": terms.elbo, "kl": terms.kl}
    named |= {f"site {name}": value for name, value in terms.log_likelihood.items()}
    where = f"with {particles} particle{'s' if particles > 1 else ''} in {dtype}"
    for name, term in named.items():
        if term.shape != (2, len(views[0])) or term.dtype != dtype:
            raise Failed(
                f"expected '{name}' of shape (pairs, images) = {(2, len(views[0]))} and {dtype}, got "
                f"{tuple(term.shape)} and {term.dtype}, {where}; give one number per image, in the inputs' precision."
            )
        if not torch.isfinite(term).all():
            raise Failed(
                f"expected a finite '{name}', got {term[~torch.isfinite(term)][0].item()}, {where}; check its terms."
            )
    _check_registered(module, terms.loss)
    terms.loss.backward()
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            _check_learned(name, parameter, where)
    return terms


def _check_registered(module: nn.Module, loss: Tensor) -> None:
    """Check that `parameters()` has all that the loss depends on, unlike a module in a closure or a list."""
    registered = {id(parameter) for parameter in module.parameters()}
    for leaf in _leaves(loss):
        if id(leaf) not in registered:
            raise Failed(
                f"expected a loss that depends on registered parameters only, got an unregistered parameter of shape "
                f"{tuple(leaf.shape)}"
                ", which no optimizer updates and no copy copies; assign modules and parameters as "
                "attributes, not in lists, lambdas or closures, and keep another module's method as a "
                "vje_ppl.program.borrowed.Borrowed."
            )


def _leaves(loss: Tensor) -> list[Tensor]:
    """Return the tensors that backward would give a gradient."""
    leaves, seen, todo = [], set(), [loss.grad_fn]
    while todo:
        node: Any = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            leaves.append(node.variable)
        todo += [following for following, _ in node.next_functions]
    return leaves


def _check_learned(name: str, parameter: Tensor, where: str) -> None:
    gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    if not torch.isfinite(gradient).all():
        raise Failed(f"expected a finite gradient for the parameter {name}, got NaN or infinity, {where}.")
    if not gradient.abs().sum() > 0:
        raise Failed(f"expected a gradient for the parameter {name}, got none, {where}; use it, or register a buffer.")


def gradient_of_the_loss_is_right(subject: Subject) -> None:
    """Check that the gradient of the loss with respect to the views agrees with differences."""
    module = subject.whole()
    module.elbo.detach_target = False  # with detached targets, the gradient is by design not that of the value
    for layer in (
        module.modules()
    ):  # differences need a fixed function: running statistics, which a prior may use, are not updated
        if isinstance(layer, _NormBase):
            layer.momentum = 0.0
    views = [view.requires_grad_() for view in subject.views()]

    def loss() -> list[Tensor]:
        torch.manual_seed(0)
        with KeyedNoise(0, 0):
            return [module(*views).loss]

    check_gradients(loss, dict(zip(("the first view", "the second view"), views, strict=True)), "the loss")


def images_do_not_meet(subject: Subject) -> None:
    """Check that an image's objective depends on that image alone; evaluation mode has no batch statistics."""
    module = subject.whole().eval()
    views = [view.requires_grad_() for view in subject.views()]
    objective = module(*views).objective
    gradient = torch.autograd.grad(objective[0, 2], views[0])[0].reshape(len(views[0]), -1).abs().sum(-1)
    if not gradient[2] > 0:
        raise Failed("expected an image's objective to depend on the image, got no gradient; look for a detach.")
    gradient[2] = 0
    if (gradient != 0).any():
        raise Failed(
            f"expected the objective of image 2 to depend on that image alone, got a gradient for image "
            f"{int(gradient.argmax())} as well; reduce over the features only, with .to_event(1), not over the images."
        )
