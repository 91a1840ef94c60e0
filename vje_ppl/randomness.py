"""Random streams by name, and the global random states.

Every draw of the data pipeline comes from a generator keyed by what it is for.
A generator is made where numbers are needed and thrown away, so no order of calls, number of workers or number of
processes can shift another draw, and the global generators of Python, NumPy and PyTorch are neither read nor moved.
"""

from __future__ import annotations

import random
from enum import IntEnum
from typing import Any

import numpy as np
import torch


class Stream(IntEnum):
    """What a generator is for; part of its key, so that two purposes never share numbers."""

    EPOCH_ORDER = 1
    BATCH_BOXES = 2
    IMAGE_BOXES = 3
    APPEARANCE = 4
    SUBSET = 5
    HOLD_OUT = 6
    PROBE_ORDER = 7
    CORRUPTION = 8
    TEST_SPLIT = 9


def keyed_generator(stream: Stream, *key: int) -> np.random.Generator:
    """Makes the generator that belongs to a purpose and a key.

    Args:
        stream: what the numbers are for.
        *key: non-negative integers, for instance seed, step and view.

    Returns:
        A generator that depends on `stream` and `key` alone. NumPy's `SeedSequence` hashes the key to 128 bits
        (`torch.Generator.manual_seed` would keep only 32 of them on the CPU).
    """
    return np.random.default_rng([int(stream), *key])


def stream_seed(*keys: int) -> int:
    """Mix integers (seed, step, ...) into one 63-bit seed; nearby keys give unrelated streams."""
    return int(np.random.SeedSequence(keys).generate_state(1, np.uint64)[0] >> 1)


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch, on all devices; 0 is a seed like any other."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_states() -> dict[str, Any]:
    """The states of Python's, NumPy's and torch's global generators."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Restore what `random_states` returned; GPU states only where the number of GPUs is the same."""
    version, internal, gauss_next = states["python"]
    random.setstate((version, tuple(internal), gauss_next))
    kind, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
