"""One floating-point type for all parameters of a distribution."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: Types of parameters that distributions accept.
Parameter = float | np.number | np.ndarray | Tensor


def promoted(*parameters: Any) -> tuple[Tensor, ...]:
    """Return parameters as tensors of one floating-point type, the widest among them.

    Numbers, of Python or NumPy, take the type of the tensors. Where no tensor has a floating-point type, that is
    torch's default: a location of integers does not round the degrees of freedom beside it.

    Args:
        *parameters: tensors, arrays, lists or numbers, of any shapes.

    Returns:
        Tensors of the same shapes.

    Source: ours.
    """
    tensors = [None if _is_number(one) else torch.as_tensor(one) for one in parameters]
    types = [one.dtype for one in tensors if one is not None and one.is_floating_point()]
    dtype = reduce(torch.promote_types, types) if types else torch.get_default_dtype()
    # A tensor without dimensions goes where the others are, as it does in torch's own arithmetic.
    device = next((one.device for one in tensors if one is not None and one.dim()), None)
    if device is None:
        device = next((one.device for one in tensors if one is not None), torch.device("cpu"))
    return tuple(
        torch.full((), float(given), dtype=dtype, device=device)  # filled there: copying makes the CPU wait for a GPU
        if one is None
        else one.to(dtype=dtype, device=one.device if one.dim() else device)
        for given, one in zip(parameters, tensors, strict=True)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number)
