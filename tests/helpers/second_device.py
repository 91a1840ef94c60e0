"""A second device that computes on the CPU but does not mix with it. It refuses and waits for what a GPU does.

For a process of its own, such as `on_second_device.py`, since torch keeps the device until the process ends.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = "second"

#: Operations whose result the CPU reads, or whose size it has to know.
WAITS = {
    "_linalg_check_errors",
    "_linalg_eigh",
    "_linalg_svd",
    "_local_scalar_dense",
    "_unique2",
    "bincount",
    "equal",
    "masked_select",
    "nonzero",
}

INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_")
COPYING = ("copy_", "_to_copy")

#: What torch's CPU calls the convolutions of a device that brings its own.
CONVOLUTIONS = {
    "convolution_overrideable": torch.ops.aten.convolution.default,
    "convolution_backward_overrideable": torch.ops.aten.convolution_backward.default,
}


class OnSecond(torch.Tensor):
    """A tensor on the second device; `here` is the tensor on the CPU that has its numbers."""

    here: torch.Tensor

    @staticmethod
    def __new__(cls, here: torch.Tensor) -> OnSecond:
        self = torch.Tensor._make_wrapper_subclass(
            cls,
            here.size(),
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=torch.device(NAME, 0),
        )
        self.here = here
        return self

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})

    __torch_function__ = torch._C._disabled_torch_function_impl

    def tolist(self) -> Any:
        waits.append(f"tolist at {_place()}")
        return self.here.tolist()

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"the device {NAME} has no NumPy arrays")

    __array__ = numpy


#: Where the CPU waited for the device, in order.
waits: list[str] = []


def _place() -> str:
    frames = [one for one in traceback.extract_stack() if "second_device" not in one.filename]
    ours = [one for one in frames if any(name in one.filename for name in ("vje_ppl", "models", "guides", "lightly"))]
    return " < ".join(f"{Path(one.filename).name}:{one.lineno}" for one in reversed(ours[-4:]))


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation where its tensors are, and note whether the CPU waits.

    Raises:
        RuntimeError: if they are on both devices.
    """
    tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
    there = [one for one in tensors if isinstance(one, OnSecond)]
    to = None if kwargs.get("device") is None else torch.device(kwargs["device"]).type
    if not there and to != NAME:
        return func(*args, **kwargs)
    name = func.overloadpacket.__name__
    here = [one for one in tensors if not isinstance(one, OnSecond)]
    indices = args[1] if name in INDEXING else []
    if there and name not in COPYING and _refused(args[0], here, indices):
        raise RuntimeError(f"{func} got tensors on {NAME} and on the CPU, at {_place()}")
    non_blocking = kwargs.get("non_blocking") or (name == "copy_" and args[2:] and args[2])
    crosses = name in COPYING and bool(here or to == "cpu") and not non_blocking
    if name in WAITS or counts_a_mask(name, args) or crosses or (indices and here):
        waits.append(f"{name} at {_place()}")
    plain, options = tree_map(_here, args), tree_map(_here, kwargs)
    if name == "convolution_backward_overrideable":  # has no argument for the sizes of the bias
        plain = (*plain[:3], None, *plain[3:])
    found = CONVOLUTIONS.get(name, func)(*plain, **options)
    if name == "copy_":
        return args[0]
    if name == "_to_copy" and to == "cpu":
        return found
    known = {id(one.here): one for one in there}  # what an operation in place returns

    def moved(one: Any) -> Any:
        return known.get(id(one), OnSecond(one)) if isinstance(one, torch.Tensor) else one

    return tree_map(moved, found)


def counts_a_mask(name: str, args: Any) -> bool:
    """Return whether a tensor is indexed by a mask, whose ones determine the size of the result."""
    return name in INDEXING and any(one is not None and one.dtype in (torch.bool, torch.uint8) for one in args[1])


def _refused(first: Any, here: list[torch.Tensor], indices: list[torch.Tensor | None]) -> bool:
    """Return whether a GPU refuses tensors on the CPU: all but single numbers, and indices of a tensor of its own."""
    others = [one for one in here if all(one is not index for index in indices)]
    return any(one.dim() for one in others) or bool(indices and not isinstance(first, OnSecond))


def _here(one: Any) -> Any:
    if isinstance(one, OnSecond):
        return one.here
    return torch.device("cpu") if isinstance(one, torch.device) and one.type == NAME else one


class _Everywhere(TorchDispatchMode):
    """Sends operations that make a tensor on the second device there."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


class _Module(backend_registration._DummyBackendModule):
    """What torch asks of `torch.second`."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


class _Generator(torch.Generator):
    """A generator for the second device, whose numbers are the CPU's."""

    def __new__(cls, device: Any = "cpu") -> torch.Generator:
        return super().__new__(cls, "cpu" if torch.device(device).type == NAME else device)


@contextmanager
def second_device() -> Iterator[None]:
    """Register the device, and let the commands choose it."""
    from lightning_fabric.accelerators import CPUAccelerator
    from lightning_fabric.strategies import SingleDeviceStrategy

    from vje_ppl.parallel import devices
    from vje_ppl.parallel.fabric import Fabric
    from vje_ppl.runs import checkpoint

    class Accelerator(CPUAccelerator):
        def setup_device(self, device: torch.device) -> None:
            pass

    def start(*_: Any) -> Fabric:
        fabric = Fabric(strategy=SingleDeviceStrategy(torch.device(NAME, 0), accelerator=Accelerator()))
        fabric.launch()
        return fabric

    backend_registration._setup_privateuseone_for_python_backend(NAME, _Module())
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=...) makes it on the CPU first
    torch.Generator = _Generator  # type: ignore[misc]
    devices.start, devices.chosen_device = start, lambda _: torch.device(NAME, 0)
    plain = checkpoint._plain  # knows torch's own tensors only
    checkpoint._plain = lambda value, name: plain(_here(value), name)
    with _Everywhere():
        yield
