"""Strided convolutions that avoid two faulty CPU kernels.

oneDNN, which computes torch's convolutions on x86 processors, has two faults as of torch 2.14:

- With AVX2, the input gradient of a strided 1×1 convolution of a few channels in channels-last memory writes past its
  buffer, and the process crashes.
- With bf16, the weight gradient of a convolution whose stride exceeds the width of its input is uninitialized memory.

The forward pass has neither. Here, both convolutions are written in an equivalent form that uses another kernel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class StridedConv2d(nn.Conv2d):
    """A square 2D convolution with an odd kernel, "same" padding and a stride; parameters are those of `nn.Conv2d`.

    It equals `nn.Conv2d` up to rounding. A 1×1 kernel takes every `stride`-th pixel first and convolves those with
    stride 1. An image of one pixel has one place for the kernel, at any stride, so stride 1 is used there.

    Args:
        inputs: input channels.
        outputs: output channels.
        size: height and width of the kernel, in pixels; odd. The padding is `size // 2`.
        stride: pixels between neighbouring places of the kernel.
    """

    def __init__(self, inputs: int, outputs: int, size: int, stride: int) -> None:
        if size % 2 == 0:
            raise ValueError(f"StridedConv2d expects an odd kernel size, got {size}.")
        super().__init__(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)

    def forward(self, input: Float[Tensor, "N C H W"]) -> Float[Tensor, "N K h w"]:
        """Convolve images, shape (N, inputs, H, W) -> (N, outputs, ceil(H / stride), ceil(W / stride))."""
        rows, columns = self.stride
        if self.kernel_size == (1, 1):
            return F.conv2d(input[..., ::rows, ::columns], self.weight)
        height, width = input.shape[2:]
        stride = (1 if height == 1 else rows, 1 if width == 1 else columns)
        return F.conv2d(input, self.weight, stride=stride, padding=self.padding)


def replace_strided(module: nn.Module) -> None:
    """Put a `StridedConv2d` in place of every strided convolution inside `module`; parameters and their names stay.

    Convolutions of other forms, which torchvision's ResNets do not have, stay as they are.
    """
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Conv2d and child.stride != (1, 1) and _is_plain(child):
                with torch.device("meta"):  # draws no random numbers
                    conv = StridedConv2d(child.in_channels, child.out_channels, child.kernel_size[0], child.stride[0])
                conv.weight = child.weight
                setattr(parent, name, conv)


def _is_plain(conv: nn.Conv2d) -> bool:
    """Return whether a convolution has a square odd kernel, "same" padding, no bias, groups or dilation."""
    size = conv.kernel_size[0]
    plain = conv.bias is None and conv.groups == 1 and conv.dilation == (1, 1) and conv.padding_mode == "zeros"
    return plain and size % 2 == 1 and conv.kernel_size == (size, size) and conv.padding == (size // 2, size // 2)
