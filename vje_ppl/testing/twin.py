"""Agreement with the NumPyro twin: the same numbers in, the same densities and gradients out."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import torch
from pyro import poutine
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn

from vje_ppl.errors import UserError
from vje_ppl.settings.twins import build_model, posterior_for_prior, twin
from vje_ppl.testing.report import Failed, NotRun
from vje_ppl.testing.subject import Subject

#: Largest difference in float64, in units of the magnitude: a value's own plus one per feature; of gradients, the
#: largest of the tensor and one.
TOLERANCE = 1e-10

#: Each function runs once, so compilation dominates.
_COMPILER_OPTIONS = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}

#: What goes in: tensors by name, of which each group may have none.
_Given = dict[str, dict[str, Tensor]]


def agrees_with_its_twin(subject: Subject) -> None:
    """Check that log-probabilities of all sites and their gradients equal the NumPyro twin's, in float64.

    The twin is evaluated under the parameters in torch, which are moved at random from where they start. Gradients,
    with respect to everything, are those of one random combination of all log-probabilities.
    """
    if subject.config is None or not type(subject.part()).__module__.startswith("vje_ppl."):
        raise NotRun("only the project's own parts have a twin, which is built from their configuration")
    try:
        twin(type(subject.part()))
    except UserError as error:
        raise NotRun(str(error).rstrip(".")) from None
    module, dim = subject.whole().eval(), subject.dim
    _move(module)
    with torch.no_grad():
        posterior = module.guide.infer(module.guide.embed(subject.views()[0]))
        asked = posterior_for_prior(module.model.prior, module.guide.infer)
        target = module.guide.embed(subject.views()[1])
        latent = posterior.mean + posterior.scale * torch.randn_like(posterior.mean)
    modules = {name: value for name, value in _fields(posterior).items() if isinstance(value, nn.Module)}
    given: _Given = {
        "inputs": {"latent": latent, "target": target},
        "posterior": _tensors(posterior),
        "pseudo-posterior": _tensors(asked),
        "parameters": dict(module.model.named_parameters()),
    }
    given |= {name: dict(part.named_parameters()) for name, part in modules.items()}
    given = {
        group: {name: one.detach().requires_grad_() if group in _LEAVES else one for name, one in tensors.items()}
        for group, tensors in given.items()
    }
    values = _in_pyro(subject.kind, module, type(posterior), modules, given)
    weights = {name: torch.randn_like(value) for name, value in values.items()}
    total = torch.stack([(weights[name] * value).sum() for name, value in values.items()]).sum()
    leaves = [tensor for group in given.values() for tensor in group.values()]
    found = iter(torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True))
    gradients = {group: {name: next(found) for name in tensors} for group, tensors in given.items()}
    port, port_gradients = _in_numpyro(subject, module, type(posterior), modules, given, weights)
    for name, value in values.items():
        _compare(f"the log-probability of site {name}", value, port[name], value.detach().abs() + dim)
    for group, tensors in gradients.items():
        for name, tensor in tensors.items():
            largest = tensor.abs().max() + 1
            _compare(f"the gradient with respect to {group} {name}", tensor, port_gradients[group][name], largest)


_LEAVES = ("inputs", "posterior", "pseudo-posterior")


def _in_pyro(
    kind: str, module: Any, posterior_type: Any, modules: dict[str, nn.Module], given: _Given
) -> dict[str, Tensor]:
    latent, target = given["inputs"].values()
    posterior = posterior_type(**given["posterior"], **modules)
    if given["pseudo-posterior"]:
        module.model.prior.bind(lambda _: posterior_type(**given["pseudo-posterior"], **modules))
    program = module.guide if kind == "guide" else module.model
    trace: Any = poutine.trace(poutine.condition(program, {"latent": latent})).get_trace(posterior, target)
    return _log_probs(kind, {name: site for name, site in trace.nodes.items() if not site_is_subsample(site)})


def _in_numpyro(
    subject: Subject,
    module: Any,
    posterior_type: Any,
    modules: dict[str, nn.Module],
    given: _Given,
    weights: dict[str, Tensor],
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, np.ndarray]]]:
    import jax  # only this check needs NumPyro, which is slow to import
    import jax.numpy as jnp
    from numpyro import handlers

    from vje_ppl.numpyro_port.memory import leave_memory_to_torch

    assert subject.config is not None
    leave_memory_to_torch()
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        port, _ = build_model(subject.config(subject.dim), subject.dim, module.model)
        program = twin(type(module.guide))() if subject.kind == "guide" else port
        port_type = twin(posterior_type)
        arrays = {g: {n: jnp.asarray(t.detach().numpy()) for n, t in group.items()} for g, group in given.items()}

        def log_probs(arrays: dict[str, dict[str, Any]]) -> dict[str, Any]:
            latent, target = arrays["inputs"]["latent"], arrays["inputs"]["target"]
            parts = {name: twin(type(part))(arrays[name]) for name, part in modules.items()}
            posterior = port_type(**arrays["posterior"], **parts)
            if arrays["pseudo-posterior"]:
                port.prior.bind(lambda _: port_type(**arrays["pseudo-posterior"], **parts))
            known = {**arrays["parameters"], "latent": latent}
            trace = handlers.trace(handlers.substitute(program, data=known)).get_trace(posterior, target)
            return _log_probs(subject.kind, trace)

        def evaluate(arrays: Any, weights: Any) -> Any:
            values, pull = jax.vjp(log_probs, arrays)
            if set(values) != set(weights):
                raise Failed(
                    f"expected the sites {sorted(weights)} in the twin, got {sorted(values)}; give both the same."
                )
            return values, pull({name: weights[name] for name in values})[0]

        arguments = arrays, {name: jnp.asarray(weight.numpy()) for name, weight in weights.items()}
        compiled = jax.jit(evaluate).lower(*arguments).compile(compiler_options=_COMPILER_OPTIONS)
        return jax.tree.map(np.asarray, compiled(*arguments))


def _log_probs(kind: str, trace: dict[str, Any]) -> dict[str, Any]:
    """Return log-probabilities of the sites of a kind of part in a trace of either backend, by name."""
    sites = {name: site for name, site in trace.items() if site["type"] == "sample"}
    wanted = (lambda name: name != "latent") if kind == "likelihood" else (lambda name: name == "latent")
    return {name: site["fn"].log_prob(site["value"]) for name, site in sites.items() if wanted(name)}


def _compare(what: str, ours: Tensor, theirs: np.ndarray, magnitude: Tensor) -> None:
    if tuple(ours.shape) != theirs.shape:
        raise Failed(
            f"expected {what} of shape {tuple(ours.shape)} from the twin, got {theirs.shape}; make them equal."
        )
    error = np.abs(ours.detach().numpy() - theirs) / magnitude.numpy()
    if not np.all(error <= TOLERANCE):
        worst = np.unravel_index(np.argmax(np.nan_to_num(error, nan=np.inf)), error.shape)
        raise Failed(
            f"expected {what} to agree with the NumPyro twin to {TOLERANCE:.0e} of the magnitude, got "
            f"{ours[worst].item():.12g} from Pyro and {theirs[worst]:.12g} from NumPyro; write the same formula in "
            f"both."
        )


def _move(module: nn.Module) -> None:
    """Shift all parameters a little, since a forgotten parameter would not show at many initial values."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)


def _fields(posterior: Any) -> dict[str, Any]:
    return {} if posterior is None else {field.name: getattr(posterior, field.name) for field in fields(posterior)}


def _tensors(posterior: Any) -> dict[str, Tensor]:
    return {name: value for name, value in _fields(posterior).items() if isinstance(value, Tensor)}
