"""`complexity`: how large an image is when compressed, and how much other scores follow it."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float64
from PIL import Image
from scipy.stats import spearmanr
from torch import Tensor

from vje_ppl.data.preprocess import Normalize
from vje_ppl.measures.anomaly.kinds import COMPLEXITY, Score, ScoreKind

KIND = ScoreKind(COMPLEXITY, encoder="none")


def complexity(prepared: Float[Tensor, "N C S S"], normalize: Normalize) -> Float64[Tensor, " N"]:
    """Return the bytes of each image as a PNG file, which is lossless; its header of about 60 bytes included.

    Likelihoods of generative models follow this number, so that simple images seem normal. A score that follows it may
    detect simple or busy images instead of unusual ones.

    Args:
        prepared: images as the network sees them.
        normalize: their normalization, which is undone.

    Source: the confound: Serrà et al., "Input complexity and out-of-distribution detection with likelihood-based
    generative models", ICLR 2020, with PNG as one of three compressors.
    """
    mean, std = (prepared.new_tensor(values).view(-1, 1, 1) for values in (normalize.mean, normalize.std))
    pixels = ((prepared * std + mean) * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    return torch.tensor([_png_bytes(image) for image in pixels], dtype=torch.float64)


def _png_bytes(image: np.ndarray) -> int:
    file = io.BytesIO()
    Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(file, format="PNG")
    return file.tell()


def complexity_correlations(*sets: Sequence[Score]) -> list[float | None]:
    """Return Spearman's rank correlation of each score with `complexity`, over the images of all sets together.

    Args:
        *sets: the same scores, in the same order, of one or more sets of images.

    Returns:
        A number in [−1, 1] for each score; None without `complexity`, and for a score that is constant.
    """
    places = [place for place, score in enumerate(sets[0]) if score.kind == KIND]
    if not places:
        return [None] * len(sets[0])
    columns = [np.concatenate([one.values for one in same]) for same in zip(*sets, strict=True)]
    bytes_ = columns[places[0]]
    return [_spearman(column, bytes_) for column in columns]


def _spearman(one: Float64[np.ndarray, " N"], other: Float64[np.ndarray, " N"]) -> float | None:
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    found = float(spearmanr(one, other).statistic)
    return found if math.isfinite(found) else None
