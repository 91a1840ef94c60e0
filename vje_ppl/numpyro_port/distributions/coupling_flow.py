"""A flow of affine couplings on top of a diagonal Normal. Twin of `vje_ppl.distributions.coupling_flow`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float
from numpyro.distributions import constraints
from numpyro.distributions.transforms import Transform

from vje_ppl.numpyro_port.pytree import as_pytree

#: A coupling multiplies a feature by a factor between exp(−this) and exp(this). Ours.
LARGEST_LOG_SCALE = 1.0


@as_pytree
@dataclass(frozen=True)
class CouplingFlow:
    """Affine couplings from standardized noise ε to standardized draws, given a context vector c of the image.

        h = tanh(A a + C c + α)
        (t, r) = B h + γ
        b' = b exp(l) + t,    l = m tanh(r / m),    m = LARGEST_LOG_SCALE
        log |det| = Σ l, summed over all couplings

    Differs from its twin: it is a pytree of its parameters, by their paths in the torch module, such as
    "layers.0.of_half.weight". The parameters may have additional leading dimensions, as when the objective stacks
    posteriors; in the results, these are to the left of the dimension of the images.
    """

    parameters: dict[str, Float[Array, ...]]

    def __call__(self, noise: Float[Array, "*#draws D"], context: Float[Array, "*#draws D"]) -> tuple[Array, Array]:
        """Return draws (..., D), and log |det| of the Jacobian in nats, for noise and contexts that broadcast."""
        noise, _ = jnp.broadcast_arrays(noise, context)
        halves = jnp.split(noise, [noise.shape[-1] // 2], axis=-1)
        log_det = jnp.zeros_like(noise[..., 0])
        for layer in range(self._layers):
            moving, moved = layer % 2, 1 - layer % 2
            shift, log_scale = self._coupling(layer, halves[moving], context)
            halves[moved] = halves[moved] * jnp.exp(log_scale) + shift
            log_det = log_det + log_scale.sum(-1)
        return jnp.concatenate(halves, -1), log_det

    def inverse(self, value: Float[Array, "*#draws D"], context: Float[Array, "*#draws D"]) -> tuple[Array, Array]:
        """Return noise (..., D), and log |det| of the call's Jacobian there, of draws and contexts that broadcast."""
        value, _ = jnp.broadcast_arrays(value, context)
        halves = jnp.split(value, [value.shape[-1] // 2], axis=-1)
        log_det = jnp.zeros_like(value[..., 0])
        for layer in reversed(range(self._layers)):
            moving, moved = layer % 2, 1 - layer % 2
            shift, log_scale = self._coupling(layer, halves[moving], context)
            halves[moved] = (halves[moved] - shift) * jnp.exp(-log_scale)
            log_det = log_det + log_scale.sum(-1)
        return jnp.concatenate(halves, -1), log_det

    @property
    def _layers(self) -> int:
        return len({name.split(".")[1] for name in self.parameters})

    def _coupling(self, layer: int, half: Array, context: Array) -> tuple[Array, Array]:
        """Return the network of one coupling: (t, l) of one half from the other and the context."""

        def linear(name: str, inputs: Array) -> Array:
            weight = jnp.swapaxes(self.parameters[f"layers.{layer}.{name}.weight"], -1, -2)
            outputs = jnp.matmul(inputs, weight, precision=lax.Precision.HIGHEST)
            bias = self.parameters.get(f"layers.{layer}.{name}.bias")
            return outputs if bias is None else outputs + bias[..., None, :]

        hidden = jnp.tanh(linear("of_half", half) + linear("of_context", context))
        shift, raw = jnp.split(linear("output", hidden), 2, axis=-1)
        return shift, LARGEST_LOG_SCALE * jnp.tanh(raw / LARGEST_LOG_SCALE)


class FlowTransform(Transform):
    """The transform of standard normal noise ε to draws `s = loc + scale · f(ε; loc)`, with f a `CouplingFlow`.

    Differs from its twin in that it does not cache draws, since NumPyro passes on the result of
    `call_with_intermediates`.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector

    def __init__(self, flow: CouplingFlow, loc: Float[Array, "*batch D"], scale: Float[Array, "*batch D"]) -> None:
        self.flow, self.loc, self.scale = flow, loc, scale

    def __call__(self, x: Array) -> Array:
        """Return draws, shape (..., D), of standard normal noise."""
        return self.call_with_intermediates(x)[0]

    def call_with_intermediates(self, x: Array) -> tuple[Array, Array]:
        """Return draws, and log |det| of the flow there, which `log_prob` of the same draws then uses."""
        standardized, log_det = self.flow(x, self.loc)
        return self.loc + self.scale * standardized, log_det

    def _inverse(self, y: Array) -> Array:
        return self.flow.inverse((y - self.loc) / self.scale, self.loc)[0]

    def log_abs_det_jacobian(self, x: Array, y: Array, intermediates: Array | None = None) -> Array:
        """Return log |det ∂s/∂ε| in nats, shape (...)."""
        log_det = self.flow(x, self.loc)[1] if intermediates is None else intermediates
        return log_det + jnp.log(self.scale).sum(-1)

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[tuple[str, ...], dict[str, Any]]]:
        """Flatten to a pytree, like every transform in NumPyro."""
        return (self.flow, self.loc, self.scale), (("flow", "loc", "scale"), {})

    def eq(self, other: object, static: bool = False) -> Any:
        """Return whether two transforms are equal."""
        return self is other
