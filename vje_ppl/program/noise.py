"""Random numbers of a training step that do not depend on the number of processes that share a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.runtime import effectful
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vje_ppl.parallel.randomness import Stream, stream_seed


class NormalNoise(Messenger, ABC):
    """A context in which reparameterized latents are drawn with noise from a subclass.

    It covers the normal noise of a guide (`Tensor.normal_`); other draws still use torch's global generator.
    """

    @abstractmethod
    def fill(self, noise: Tensor) -> Tensor:
        """Overwrite a tensor of shape (..., N, features) with normal noise."""

    def _pyro_sample(self, msg: Any) -> None:
        if msg["is_observed"] or msg["value"] is not None or not getattr(msg["fn"], "has_rsample", False):
            return
        with _Normals(self):
            msg["value"] = msg["fn"].rsample()


class _Normals(TorchFunctionMode):
    """Replaces in-place normal noise."""

    def __init__(self, noise: NormalNoise) -> None:
        super().__init__()
        self._noise = noise

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not Tensor.normal_ or len(args) + len(kwargs or {}) > 1:
            return func(*args, **(kwargs or {}))
        return self._noise.fill(args[0])


class KeyedNoise(NormalNoise):
    """Noise keyed by (seed, step, row in the global batch).

    The noise of the whole global batch is drawn from a generator of its own and this process keeps its rows, so the
    number of processes does not change the mathematics, a resumed run repeats an undisturbed run, and nothing draws
    from the global random state. Draws in `SharedDraws` are keyed by seed and step alone.

    Args:
        seed: the run's seed.
        step: the global training step.
        rows: the rows (start, stop) of the global batch that this process holds; `None` for all of them.
        total: the size of the global batch.

    Source: ours.
    """

    def __init__(self, seed: int, step: int, rows: tuple[int, int] | None = None, total: int | None = None) -> None:
        super().__init__()
        self._seed = stream_seed(seed, step)
        self._rows, self._total = rows, total
        self._generator: torch.Generator | None = None

    def fill(self, noise: Tensor) -> Tensor:
        """Overwrite a tensor of shape (..., N, features) with this process's rows of the global batch's noise."""
        if self._generator is None:  # the first draw determines the device
            self._generator = torch.Generator(noise.device).manual_seed(self._seed)
        if self._rows is None or self._total is None:
            return noise.normal_(generator=self._generator)
        start, stop = self._rows
        everyone = noise.new_empty(*noise.shape[:-2], self._total, noise.shape[-1])
        everyone.normal_(generator=self._generator)
        return noise.copy_(everyone[..., start:stop, :])

    def _pyro_shared_generator(self, msg: Any) -> None:
        (device,) = msg["args"]
        msg["value"] = torch.Generator(device).manual_seed(stream_seed(self._seed, Stream.SHARED_DRAWS))


@effectful(type="shared_generator")
def shared_generator(device: torch.device) -> torch.Generator | None:
    """Return a generator on a device that depends on the seed and step of `KeyedNoise` alone; None outside of it."""
    return None


class SharedDraws(TorchFunctionMode):
    """A context in which `torch.randn` draws the same numbers in all processes that share a batch.

    The numbers are keyed by seed and step, so a resumed run repeats them. Outside of `KeyedNoise` they are from torch's
    global generator.

    Args:
        device: where the numbers are drawn.

    Source: ours.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._generator = shared_generator(device)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch; `torch.randn` with the generator."""
        kwargs = kwargs or {}
        if func is torch.randn and self._generator is not None:
            kwargs = {**kwargs, "generator": self._generator}
        return func(*args, **kwargs)
