"""Feature matrices that may be larger than memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from jaxtyping import Float32
from torch import Tensor

from vje_ppl.errors import UserError
from vje_ppl.files import explain


def stored_rows(count: int, dim: int, memory_mb: float, folder: Path) -> Float32[Tensor, "count dim"]:
    """A matrix to fill: in memory, or, where it takes more than allowed, in a file that the system pages in and out.

    The file has no name any more when this returns, so nothing is left of it however the process ends.

    Args:
        count: rows.
        dim: columns.
        memory_mb: megabytes allowed in memory.
        folder: where a file may lie.

    Returns:
        An ordinary float32 tensor on the CPU, of unspecified content.

    Raises:
        UserError: if the file cannot be made.
    """
    if 4 * count * dim <= memory_mb * 1e6:
        return torch.empty(count, dim)
    try:
        with tempfile.NamedTemporaryFile(prefix=".features-", dir=folder) as file:
            return torch.from_file(file.name, shared=True, size=count * dim, dtype=torch.float32).view(count, dim)
    except (OSError, RuntimeError) as error:
        reason = explain(error) if isinstance(error, OSError) else str(error).splitlines()[0]
        raise UserError(
            f"Features of {count} images need {4 * count * dim / 1e9:.1f} GB in {folder}, or in memory with a larger "
            f"features_mb: {reason}."
        ) from error
