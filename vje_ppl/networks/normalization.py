"""Normalization layers by name: batch statistics, or groups of channels that need no batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

#: Wu and He (2018), table 3: 32 groups, or 16 channels a group. A group of few features without pixels to average over
#: would keep hardly more than their signs.
_MOST_GROUPS, _FEWEST_CHANNELS = 32, 16


def _groups(channels: int) -> int:
    """Return the largest number of groups that divides the channels: up to 32, of at least 16 channels; at least 1."""
    most = max(1, min(_MOST_GROUPS, channels // _FEWEST_CHANNELS))
    return max(groups for groups in range(1, most + 1) if channels % groups == 0)


def _group_norm(channels: int, affine: bool = True) -> nn.Module:
    return nn.GroupNorm(_groups(channels), channels, affine=affine)


_LAYERS: dict[str, tuple[Callable[..., nn.Module], Callable[..., nn.Module]]] = {
    "batch": (nn.BatchNorm1d, nn.BatchNorm2d),
    "group": (_group_norm, _group_norm),
}


def _layers(norm: str) -> tuple[Callable[..., nn.Module], Callable[..., nn.Module]]:
    if norm not in _LAYERS:
        raise ValueError(f"norm expects one of {', '.join(_LAYERS)}, got {norm!r}.")
    return _LAYERS[norm]


def norm_1d(norm: str, affine: bool = True) -> Callable[[int], nn.Module]:
    """Return a constructor, by number of features, of a layer for (N, features).

    Args:
        norm: "batch" or "group".
        affine: whether the layer has a learned scale and shift.
    """
    return partial(_layers(norm)[0], affine=affine)


def norm_2d(norm: str) -> Callable[[int], nn.Module]:
    """Return a constructor, by number of channels, of a layer for (N, C, H, W); `norm` is "batch" or "group"."""
    return _layers(norm)[1]
