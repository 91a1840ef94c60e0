"""Where these tests compute: on a GPU, or on the CPU if that is asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pyro
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.helpers.second_device import WAITS, counts_a_mask


@pytest.fixture
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """The GPU, without TF32, so that float32 is float32; or the CPU."""
    wanted = request.config.getoption("device")
    if wanted == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU, and torch finds none; run it on the CPU with --device=cpu")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    return torch.device("cuda")


@pytest.fixture
def validation_off() -> None:
    """As in training: to validate an argument, the CPU reads numbers from the device."""
    pyro.enable_validation(False)


class _NoNumberIsRead(TorchDispatchMode):
    """On a CPU: refuses what would make it wait for a GPU, but for the optimizer's counters, which lie on the CPU."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if (name in WAITS or counts_a_mask(name, args)) and not self._in_optimizer():
            raise AssertionError(f"{name} makes the CPU wait for the device")
        return func(*args, **(kwargs or {}))

    @staticmethod
    def _in_optimizer() -> bool:
        frame = sys._getframe(2)
        while frame is not None:
            if "torch/optim/" in frame.f_code.co_filename:
                return True
            frame = frame.f_back
        return False


@pytest.fixture
def nothing_waits(device: torch.device) -> Callable[[], AbstractContextManager[None]]:
    """A context in which an operation that makes the CPU wait for the device is an error."""

    @contextmanager
    def context() -> Iterator[None]:
        if device.type == "cpu":
            with _NoNumberIsRead():
                yield
            return
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)

    return context
