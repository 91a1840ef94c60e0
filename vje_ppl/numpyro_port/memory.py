"""JAX beside torch on one GPU."""

from __future__ import annotations

import os


def leave_memory_to_torch() -> None:
    """Keep JAX from reserving three quarters of a GPU's memory, unless the environment says otherwise.

    Call it before JAX computes anything; later it has no effect.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
