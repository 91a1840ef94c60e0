"""Random streams by name, and the global random states.

Every draw of the data pipeline, of an evaluation and of a diagnosis is keyed by its purpose. Generators are created
where numbers are needed and then discarded, so no order of calls, number of workers or number of processes affects
another draw, and the global generators of Python, NumPy and PyTorch are neither read nor changed.
"""

from __future__ import annotations

import random
from enum import IntEnum, unique
from typing import Any

import numpy as np
import torch


@unique
class Stream(IntEnum):
    """The purpose of a generator; part of its key, so that two purposes never share numbers.

    The values determine the drawn numbers: never change them.
    """

    EPOCH_ORDER = 1
    BATCH_BOXES = 2
    IMAGE_BOXES = 3
    APPEARANCE = 4
    SUBSET = 5
    HOLD_OUT = 6
    PROBE_ORDER = 7
    CORRUPTION = 8
    TEST_SPLIT = 9
    CALIBRATION = 10
    RANK_VIEWS = 11
    SHARED_DRAWS = 12
    CACHED_VIEWS = 13
    # Evaluation
    SCORE_DRAWS = 0x65766C01
    AGGREGATE_DRAWS = 0x65766C02
    SCORE_VIEWS = 0x65766C03
    TRAINING_VIEWS = 0x65766C04
    CALIBRATION_DRAWS = 0x65766C05
    RANK_LATENTS = 0x65766C06
    RANK_OBSERVATIONS = 0x65766C07
    REGRET = 0x65766C08
    # Diagnosis
    DIAGNOSIS_VIEWS = 0x64696101
    DIAGNOSIS_DRAWS = 0x64696102
    GAUSSIAN_SEARCH = 0x64696103
    CHAINS = 0x64696104
    OFFSETS = 0x64696105
    SIMULATION = 0x64696106
    SIMULATED_GUIDE = 0x64696107
    DATATREE_PRIOR = 0x64696108
    DATATREE_PREDICTIVE = 0x64696109
    TIES = 0x6469610A
    PREDICTIVE_LATENTS = 0x70726401
    PREDICTIVE_OBSERVATIONS = 0x70726402
    PREDICTIVE_VIEWS = 0x70726403
    PREDICTIVE_DRAWS = 0x70726404
    PREDICTIVE_RANKS = 0x70726405


def keyed_generator(stream: Stream, *key: int) -> np.random.Generator:
    """Make the generator that belongs to a purpose and a key.

    Args:
        stream: the purpose of the numbers.
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
    """Return the states of Python's, NumPy's and torch's global generators."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Restore the result of `random_states`; GPU states only if the number of GPUs is the same."""
    version, internal, gauss_next = states["python"]
    random.setstate((version, tuple(internal), gauss_next))
    kind, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
