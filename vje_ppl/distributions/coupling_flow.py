"""A flow of affine couplings on top of a diagonal Normal."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from pyro.distributions import constraints
from torch import Tensor, nn
from torch.distributions import Transform

from vje_ppl.distributions.promoted import promoted

#: Most couplings; more are assumed to be a mistake. Ours.
MOST_LAYERS = 1000

#: A coupling multiplies a feature by a factor between exp(−this) and exp(this). Ours.
LARGEST_LOG_SCALE = 1.0

#: Factor of the default initial weights of a coupling's output: close to the identity, but large enough that the layer
#: below gets a gradient. Ours.
INITIAL_OUTPUT = 0.05


class CouplingFlow(nn.Module):
    """Affine couplings from standardized noise ε to standardized draws, given a context vector c of the image.

    In each coupling one half of the features, `a`, moves the other, `b`, and the halves take turns:

        h = tanh(A a + C c + α)
        (t, r) = B h + γ
        b' = b exp(l) + t,    l = m tanh(r / m),    m = LARGEST_LOG_SCALE
        log |det| = Σ l, summed over all couplings

    The inverse, `b = (b' − t) exp(−l)` from the last coupling to the first, costs as much as the flow itself.

    Args:
        dim: number of features D, at least 2; the context has as many.
        layers: number of couplings, at least 1; from three on, features of the same half get correlated too.
        width: width of the hidden layer h in multiples of D, at least 1.

    Raises:
        ValueError: for fewer features, layers, or a smaller width.

    Source: Dinh, Sohl-Dickstein and Bengio, Density Estimation Using Real NVP (2017), equations 7 and 8; one hidden
    layer, the context, and the bounds: ours.
    """

    def __init__(self, dim: int, layers: int = 4, width: int = 2) -> None:
        super().__init__()
        if dim < 2:
            raise ValueError(
                f"CouplingFlow expects at least 2 features, to transform one half given the other, got {dim}; use "
                "guide=diagonal_normal."
            )
        if layers < 1 or width < 1:
            raise ValueError(f"CouplingFlow expects layers >= 1 and width >= 1, got {layers} and {width}.")
        if layers > MOST_LAYERS:
            raise ValueError(f"CouplingFlow expects {MOST_LAYERS} layers at most, got {layers}.")
        sizes = dim // 2, dim - dim // 2
        self.sizes = sizes
        self.layers = nn.ModuleList(
            _Coupling(sizes[layer % 2], sizes[1 - layer % 2], dim, width * dim) for layer in range(layers)
        )

    def forward(
        self, noise: Float[Tensor, "*#draws D"], context: Float[Tensor, "*#draws D"]
    ) -> tuple[Float[Tensor, "*all D"], Float[Tensor, "*all"]]:
        """Return draws (..., D), and log |det| of the Jacobian in nats, for noise and contexts that broadcast."""
        with torch.autocast(noise.device.type, enabled=False):
            noise, _ = torch.broadcast_tensors(noise, context)
            halves = list(noise.split(self.sizes, dim=-1))
            log_det = torch.zeros_like(noise[..., 0])
            for layer, coupling in enumerate(self.layers):
                moving, moved = layer % 2, 1 - layer % 2
                shift, log_scale = coupling(halves[moving], context)
                halves[moved] = halves[moved] * log_scale.exp() + shift
                log_det = log_det + log_scale.sum(-1)
            return torch.cat(halves, -1), log_det

    def inverse(
        self, value: Float[Tensor, "*#draws D"], context: Float[Tensor, "*#draws D"]
    ) -> tuple[Float[Tensor, "*all D"], Float[Tensor, "*all"]]:
        """Return noise (..., D), and log |det| of `forward`'s Jacobian there, of draws and contexts that broadcast."""
        with torch.autocast(value.device.type, enabled=False):
            value, _ = torch.broadcast_tensors(value, context)
            halves = list(value.split(self.sizes, dim=-1))
            log_det = torch.zeros_like(value[..., 0])
            for layer, coupling in reversed(list(enumerate(self.layers))):
                moving, moved = layer % 2, 1 - layer % 2
                shift, log_scale = coupling(halves[moving], context)
                halves[moved] = (halves[moved] - shift) * (-log_scale).exp()
                log_det = log_det + log_scale.sum(-1)
            return torch.cat(halves, -1), log_det


class _Coupling(nn.Module):
    """The network of one coupling: (t, l) of one half from the other and the context."""

    def __init__(self, moving: int, moved: int, context: int, hidden: int) -> None:
        super().__init__()
        self.of_half = nn.Linear(moving, hidden)
        self.of_context = nn.Linear(context, hidden, bias=False)
        self.output = nn.Linear(hidden, 2 * moved)
        with torch.no_grad():
            for parameter in self.output.parameters():
                parameter.mul_(INITIAL_OUTPUT)

    def forward(self, half: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.tanh(self.of_half(half) + self.of_context(context))
        shift, raw = self.output(hidden).chunk(2, dim=-1)
        return shift, LARGEST_LOG_SCALE * torch.tanh(raw / LARGEST_LOG_SCALE)


class FlowTransform(Transform):
    """The transform of standard normal noise ε to draws `s = loc + scale · f(ε; loc)`, with f a `CouplingFlow`.

    Over the diagonal Normal `x = loc + scale · ε` that is `s = loc + scale · f((x − loc)/scale; loc)`. The flow sees
    noise of order one whatever the scale is, so its inverse keeps its digits in float32.

    `log_prob` of a draw made with gradients takes noise and log |det| from the draw, as long as draw, location, scale
    and the flow's parameters are what they were. Otherwise, and for draws made without gradients, as `sample` makes
    them, the flow is inverted, so that values and gradients with respect to its parameters are right. A change through
    `.data` is noticed on the processor alone; on other devices call `clear_cache()` after one.

    Args:
        flow: f.
        loc: location, shape (..., D).
        scale: positive, shape (..., D).

    Source: ours; see `CouplingFlow`.
    """

    bijective = True
    domain = constraints.real_vector
    codomain = constraints.real_vector

    def __init__(self, flow: CouplingFlow, loc: Float[Tensor, "*batch D"], scale: Float[Tensor, "*batch D"]) -> None:
        super().__init__()
        self.loc, self.scale = promoted(loc, scale)
        self.flow = flow
        self.clear_cache()

    def clear_cache(self) -> None:
        """Forget all draws, so that the flow is inverted for them."""
        self._drawn: _Known | None = None
        self._scored: _Known | None = None

    def _call(self, x: Tensor) -> Tensor:
        standardized, log_det = self.flow(x, self.loc)
        value = self.loc + self.scale * standardized
        self._drawn = _Known(x, value, log_det, value.requires_grad, self._state(value))
        return value

    def _inverse(self, y: Tensor) -> Tensor:
        known = self._drawn
        if (
            known is None
            or y is not known.value
            or (torch.is_grad_enabled() and not known.has_graph)
            or known.state != self._state(y)
        ):
            noise, log_det = self.flow.inverse((y - self.loc) / self.scale, self.loc)
            known = _Known(noise, y, log_det, True, self._state(y))
        self._scored = known
        return known.noise

    def log_abs_det_jacobian(self, x: Float[Tensor, "*#draws D"], y: Float[Tensor, "*#draws D"]) -> Tensor:
        """Return log |det ∂s/∂ε| in nats, shape (...)."""
        known = self._scored
        if known is None or x is not known.noise or y is not known.value or known.state != self._state(y):
            return self.flow(x, self.loc)[1] + self.scale.log().sum(-1)
        return known.log_det + self.scale.log().sum(-1)

    def _state(self, value: Tensor) -> list[Any]:
        """Return values that differ after a draw, or a tensor that it depends on, is changed in place or replaced."""
        tensors = [value, self.loc, self.scale, *self.flow.parameters()]
        versions = [None if one.is_inference() else one._version for one in tensors]
        sums = [
            one.detach().sum() for one in tensors if one.device.type == "cpu"
        ]  # on other devices this would wait for them
        return [*map(id, tensors), *versions, *torch.stack(sums).tolist()] if sums else [*map(id, tensors), *versions]


class _Known(NamedTuple):
    """Noise, the draw that it becomes, log |det| there, whether gradients flow through them, and their state."""

    noise: Tensor
    value: Tensor
    log_det: Tensor
    has_graph: bool
    state: list[Any]
