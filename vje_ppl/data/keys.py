"""Random streams by name: every draw of the data pipeline comes from a generator keyed by what it is for.

A generator is made where numbers are needed and thrown away, so no order of calls, number of workers or number of
processes can shift another draw, and the global generators of Python, NumPy and PyTorch are neither read nor moved.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


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
