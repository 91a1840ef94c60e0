"""Passing over an optimization step, so that not a bit of it remains, without waiting for the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.optim import Optimizer


class Rollback:
    """Takes a step, or leaves parameters, buffers and the optimizer's state as they were, as a flag on the device says.

    A gradient set to zero would not do: moments decay, steps are counted, weights decay, and running statistics have
    taken the batch up by then. Nor would the flag that torch's fused optimizers know from loss scaling: a first step
    that it suppresses leaves the momentum of `torch.optim.SGD` uninitialized. So the step is taken, and each tensor
    that it may have changed is chosen from before and after. That costs a copy of the weights and of the optimizer's
    state, in memory and, once a step, in memory traffic.

    The device is waited for only where this cannot work: in a parameter's first step, before which it has no state;
    for optimizers from elsewhere than `torch.optim`, which may keep numbers in Python; and for those that keep a
    tensor on the host.

    Args:
        module: what is trained.
        optimizer: what trains it, itself and not a wrapper.
    """

    def __init__(self, module: nn.Module, optimizer: Optimizer) -> None:
        self._module, self._optimizer = module, optimizer
        self._stateful: set[nn.Parameter] = set()
        self._buffers: dict[str, Tensor] = {}
        self._keeps_tensors = type(optimizer).__module__.startswith("torch.optim.")

    def keep_state_on_device(self, device: torch.device) -> None:
        """Have the optimizer count its steps on the device, where it can; to be called again when it loads a state."""
        for group in self._optimizer.param_groups:
            if "capturable" not in group or group.get("fused"):
                continue
            group["capturable"] = device.type == "cuda"
            for parameter in group["params"]:
                state = self._optimizer.state.get(parameter, {})
                if group["capturable"] and torch.is_tensor(state.get("step")):
                    state["step"] = state["step"].to(device)

    def begin(self) -> None:
        """Remember the buffers, before a forward pass changes them."""
        self._buffers = {name: buffer.clone() for name, buffer in self._module.named_buffers()}

    def step(self, bad: Bool[Tensor, ""], advance: Callable[[], None]) -> None:
        """Go on, unless the flag is set.

        Args:
            bad: whether to leave everything as it was before `begin`, shape ().
            advance: takes the optimizer's step, from gradients that are there, and what follows it.
        """
        trained = {one for group in self._optimizer.param_groups for one in group["params"] if one.grad is not None}
        if self._must_wait(trained, bad.device):
            if not bad.item():
                advance()
                self._stateful |= trained
        else:
            before = [tensor.clone() for tensor in self._changed_by_a_step()]
            advance()
            for old, new in zip(before, self._changed_by_a_step(), strict=True):
                new.copy_(torch.where(bad, old, new))
        for name, buffer in self._module.named_buffers():
            if name in self._buffers:
                buffer.copy_(torch.where(bad, self._buffers[name], buffer))

    def _must_wait(self, trained: set[nn.Parameter], device: torch.device) -> bool:
        if not self._keeps_tensors or not trained <= self._stateful:
            return True
        return any(tensor.device != device for tensor in self._state())

    def _changed_by_a_step(self) -> Iterator[Tensor]:
        yield from (parameter.data for parameter in self._module.parameters())
        yield from self._state()

    def _state(self) -> Iterator[Tensor]:
        for state in self._optimizer.state.values():
            yield from (value for value in state.values() if torch.is_tensor(value))
