"""Functions of constants, such as the normalizer of a fixed number of degrees of freedom, computed only once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

#: Of each constant: its version, and the results by function and further arguments.
_RESULTS: Any = WeakTensorKeyDictionary()


def of_constant[R](function: Callable[..., R], constant: Tensor, *arguments: Any) -> R:
    """Return `function(constant, *arguments)`, remembered for as long as the constant exists and is not changed.

    A number without a gradient, such as a buffer, is a constant; for other tensors the function is called each time. No
    number is looked at, so the CPU does not wait for the device. A normalizer takes some fifty operations on single
    numbers, each of which costs a GPU as much time as an operation on a small batch.

    Args:
        function: a function of tensors without a state.
        constant: its first argument.
        *arguments: further arguments, hashable.

    Source: ours.
    """
    if constant.dim() or constant.requires_grad or torch.compiler.is_compiling() or torch.is_inference_mode_enabled():
        return function(constant, *arguments)
    if constant.is_inference():  # its version is not counted
        return function(constant, *arguments)
    version, results = _RESULTS.get(constant, (None, {}))
    if version != constant._version:
        results = {}
        _RESULTS[constant] = (constant._version, results)
    key = (function, arguments)
    if key not in results:
        results[key] = function(constant, *arguments)
    return results[key]
