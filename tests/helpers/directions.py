"""The random directions of a training step, drawn without the code of a method."""

from __future__ import annotations

import numpy as np
import torch

from vje_ppl.parallel.randomness import Stream, stream_seed

SEED, STEP = 2, 7


def directions(features: int, count: int) -> np.ndarray:
    """Unit vectors in columns, (features, count), float64, that a run with seed `SEED` draws in step `STEP`."""
    generator = torch.Generator().manual_seed(stream_seed(stream_seed(SEED, STEP), Stream.SHARED_DRAWS))
    drawn = torch.randn(features, count, generator=generator, dtype=torch.float64).numpy()
    return drawn / np.linalg.norm(drawn, axis=0)
