"""Strided convolutions: equal to torch's in float64, and with gradients that no faulty kernel computes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.helpers.commands import SMALL
from vje_ppl.networks.convolution import StridedConv2d, replace_strided
from vje_ppl.networks.encoders import ResNet, SmallResNet

LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}


def gradients(output, *inputs):
    return torch.autograd.grad(output.square().sum(), inputs)


@pytest.mark.parametrize("pixels", [1, 2, 3, 8, 9])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 3, 7])
def test_equals_torchs_convolution(size, stride, pixels):
    conv = StridedConv2d(3, 5, size, stride).double()
    images = torch.randn(2, 3, pixels, pixels, dtype=torch.float64, requires_grad=True)
    ours, theirs = conv(images), F.conv2d(images, conv.weight, stride=stride, padding=size // 2)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradients(ours, images, conv.weight), gradients(theirs, images, conv.weight))


@pytest.mark.parametrize("memory", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=["float32", "bf16"])
@pytest.mark.parametrize("inputs", [*range(1, 9), 15, 16, 17, 32])
def test_gradients_are_those_of_float64_at_every_width(inputs, precision, memory):
    for size, pixels in ((1, 8), (3, 1), (3, 2), (3, 8), (7, 1)):
        conv = StridedConv2d(inputs, 8, size, 2).to(memory_format=memory)
        images = torch.randn(16, inputs, pixels, pixels).contiguous(memory_format=memory).requires_grad_()
        double = [tensor.detach().double().requires_grad_() for tensor in (images, conv.weight)]
        expected = gradients(F.conv2d(*double, stride=2, padding=size // 2), *double)
        for _ in range(3):  # a kernel that reads what it should not may be right by chance
            with torch.autocast("cpu", precision, enabled=precision != torch.float32):
                output = conv(images)
            for found, right in zip(gradients(output.float(), images, conv.weight), expected, strict=True):
                # A gradient is a sum over all places; each term is rounded a few times, at most.
                torch.testing.assert_close(
                    found.double(), right, rtol=0, atol=8 * torch.finfo(precision).eps * right.abs().max().item()
                )


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match="odd kernel size, got 2"):
        StridedConv2d(1, 1, 2, 2)


@pytest.mark.parametrize(
    "make", [lambda: ResNet("resnet18", stem="imagenet"), lambda: SmallResNet(4)], ids=["resnet", "small"]
)
def test_encoders_hold_no_other_strided_convolution(make):
    strided = [part for part in make().modules() if isinstance(part, nn.Conv2d) and part.stride != (1, 1)]
    assert strided
    assert {type(part) for part in strided} == {StridedConv2d}


def test_replacing_keeps_parameters_names_and_the_random_stream():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False), nn.Conv2d(4, 4, 1, bias=False))
    before, images = dict(net.named_parameters()), torch.randn(2, 3, 8, 8)
    expected, state = net(images), torch.get_rng_state()
    replace_strided(net)
    assert torch.equal(state, torch.get_rng_state())
    assert {name: id(parameter) for name, parameter in net.named_parameters()} == {
        name: id(parameter) for name, parameter in before.items()
    }
    torch.testing.assert_close(net(images), expected)


def test_a_narrow_resnet_trains_on_a_processor_without_avx_512(tmp_path):
    options = [option for option in SMALL if not option.startswith("encoder.")]
    command = [sys.executable, "-m", "vje_ppl.train", *options, "encoder=small_resnet", "encoder.width=4"]
    limit = {"ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1"}
    command += ["trainer.precision=32", "trainer.epochs=1", "run.name=narrow"]
    result = subprocess.run(command, cwd=tmp_path, env=os.environ | limit, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "runs" / "narrow" / "metrics.json").is_file()
