"""The encoder's weights under the names that torchvision's ResNet gives them."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor, nn

from vje_ppl.networks.encoders import ResNet, SmallResNet

#: Our names, and torchvision's: the stem is a convolution and its normalization, and stages are numbered from 1.
_STEM = {"stem.0.": "conv1.", "stem.1.": "bn1."}


def torchvision_state(encoder: nn.Module) -> dict[str, Tensor]:
    """Return the encoder's weights, contiguous and on the CPU.

    Args:
        encoder: one of `vje_ppl.networks.encoders`, or any module.

    Returns:
        Tensors by name. Those of `ResNet` and `SmallResNet` are called `conv1`, `bn1`, `layer1` to `layer4`, as
        torchvision's are (without `fc`, which an embedding has no use for); those of any other module keep their names.
    """
    names = torchvision_names(encoder)
    return {names[name]: tensor.detach().cpu().contiguous() for name, tensor in encoder.state_dict().items()}


def torchvision_names(encoder: nn.Module) -> dict[str, str]:
    """Return the names of `torchvision_state` by those of the encoder's own state."""
    if not isinstance(encoder, ResNet | SmallResNet):
        return {name: name for name in encoder.state_dict()}
    stages = _stage_of_block(encoder)
    return {name: _renamed(name, stages) for name in encoder.state_dict()}


def _stage_of_block(encoder: ResNet | SmallResNet) -> list[str]:
    """Return what torchvision calls each child of `encoder.stages`."""
    if isinstance(encoder, ResNet):
        return [f"layer{stage + 1}" for stage in range(len(encoder.stages))]
    names: list[str] = []
    width, stage, block = None, 0, 0
    for block_module in encoder.stages:
        conv: Any = block_module.conv2
        channels = conv.out_channels
        stage, block = (stage, block + 1) if channels == width else (stage + 1, 0)
        width = channels
        names.append(f"layer{stage}.{block}")
    return names


def _renamed(name: str, stages: list[str]) -> str:
    for ours, theirs in _STEM.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    found = re.match(r"stages\.(\d+)\.(.*)", name)
    return name if found is None else f"{stages[int(found[1])]}.{found[2]}"
