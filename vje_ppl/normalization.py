"""Normalization layers by name: batch statistics, or groups of channels that need no batch."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

#: Wu and He (2018), table 3: 32 groups, or 16 channels a group. A group of few features that has no pixels to average
#: over would be left with hardly more than their signs.
_MOST_GROUPS, _FEWEST_CHANNELS = 32, 16


def _groups(channels: int) -> int:
    """The largest number of groups that divides the channels: up to 32, of 16 or more, and always one."""
    most = max(1, min(_MOST_GROUPS, channels // _FEWEST_CHANNELS))
    return max(groups for groups in range(1, most + 1) if channels % groups == 0)


_LAYERS: dict[str, tuple[Callable[[int], nn.Module], Callable[[int], nn.Module]]] = {
    "batch": (nn.BatchNorm1d, nn.BatchNorm2d),
    "group": (lambda channels: nn.GroupNorm(_groups(channels), channels),) * 2,
}


def _layers(norm: str) -> tuple[Callable[[int], nn.Module], Callable[[int], nn.Module]]:
    if norm not in _LAYERS:
        raise ValueError(f"norm expects one of {', '.join(_LAYERS)}, got {norm!r}.")
    return _LAYERS[norm]


def norm_1d(norm: str) -> Callable[[int], nn.Module]:
    """Constructor, by number of features, of a layer for (N, features); `norm` is "batch" or "group"."""
    return _layers(norm)[0]


def norm_2d(norm: str) -> Callable[[int], nn.Module]:
    """Constructor, by number of channels, of a layer for (N, C, H, W); `norm` is "batch" or "group"."""
    return _layers(norm)[1]
