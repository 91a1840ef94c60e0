"""The uncertainty of a posterior in one number."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy.stats import rankdata
from torch import Tensor

from vje_ppl.data.preprocess import Normalize
from vje_ppl.diagnose.statistics.corruptions import Corruption
from vje_ppl.program.moments import moments


def mean_log_scale(posterior: Any) -> Float64[Tensor, "*batch"]:
    """Return the mean over features of log σ, with σ the standard deviations of the posterior's draws; shape (...).

    Its exponential is the geometric mean of σ. For independent features it is the posterior's entropy up to constants:
    entropy / D − ½ log 2πe.

    Args:
        posterior: the result of a guide's `infer`, features last.
    """
    return moments(posterior)[1].double().log().mean(-1)


@torch.no_grad()
def scale_of_images(infer: Callable[[Tensor], Any], batches: Iterable[tuple[Tensor, Tensor]]) -> Float64[Tensor, " N"]:
    """`mean_log_scale` of batches of (index, prepared images), in order, on the CPU."""
    return torch.cat([mean_log_scale(infer(prepared)).cpu() for _, prepared in batches])


@torch.no_grad()
def scale_under_corruption(
    infer: Callable[[Tensor], Any],
    batches: Iterable[tuple[Tensor, Tensor]],
    normalize: Normalize,
    corruption: Corruption,
    seed: int,
) -> Float64[Tensor, "levels N"]:
    """`mean_log_scale` of images as they are, and at each severity of a corruption.

    Args:
        infer: maps prepared images to posteriors.
        batches: (index, prepared images).
        normalize: their normalization; corruptions act on pixels in [0, 1].
        corruption: the corruption.
        seed: its seed.

    Returns:
        Level 0 without corruption, then a level per severity; on the CPU.
    """
    columns = []
    for index, prepared in batches:
        pixels = pixels_of(prepared, normalize)
        worse = (corruption(pixels, severity, seed, index) for severity in corruption.severities)
        levels = [prepared, *(normalize(one) for one in worse)]
        columns.append(torch.stack([mean_log_scale(infer(level)).cpu() for level in levels]))
    return torch.cat(columns, 1)


def pixels_of(prepared: Float[Tensor, "N C S S"], normalize: Normalize) -> Float[Tensor, "N C S S"]:
    """Undo `normalize`: prepared images as pixels in [0, 1]."""
    mean, std = (prepared.new_tensor(values).view(-1, 1, 1) for values in (normalize.mean, normalize.std))
    return (prepared * std + mean).clamp(0, 1)


def severity_correlation(values: Float64[np.ndarray, "levels N"]) -> Float64[np.ndarray, " N"]:
    """Return Spearman's rank correlation of a quantity with the level, per image; 0 if constant, NaN for NaN.

    Args:
        values: at levels of rising severity, at least two.

    Returns:
        In [−1, 1]: 1 if every level is above the previous one.

    Source: Spearman's ρ as Pearson's correlation of ranks, equal values sharing their mean rank.
    """
    ranks = rankdata(values, axis=0)
    ranks -= ranks.mean(0)
    levels = np.arange(len(values)) - (len(values) - 1) / 2
    size = np.sqrt((ranks**2).sum(0) * (levels**2).sum())
    return np.divide(levels @ ranks, size, out=np.where(np.isnan(size), np.nan, 0.0), where=size > 0)
