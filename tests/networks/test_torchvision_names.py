"""Encoders in torchvision's own classes."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock

from vje_ppl.networks.encoders import MLP, ResNet, SmallResNet
from vje_ppl.networks.torchvision_names import torchvision_state


def trained(encoder: nn.Module) -> nn.Module:
    """With statistics and weights unlike those it starts with."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder.train()(torch.randn(4, 3, 64, 64))
        with torch.no_grad():
            for parameter in encoder.parameters():
                parameter.add_(0.01 * torch.randn_like(parameter))
    return encoder.eval()


def in_torchvision(net: nn.Module, encoder: nn.Module, stem: str) -> nn.Module:
    if stem == "cifar":
        net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    net.fc = nn.Identity()
    net.load_state_dict(torchvision_state(encoder))  # strict: no name too many or too few
    return net.eval()


@pytest.mark.parametrize("stem", ["imagenet", "cifar"])
@pytest.mark.parametrize(
    ("encoder", "net"),
    [
        (lambda stem: ResNet("resnet18", stem=stem), torchvision.models.resnet18),
        (lambda stem: ResNet("resnet50", stem=stem), torchvision.models.resnet50),
        (
            lambda stem: SmallResNet(width=64, blocks=[1, 2, 1, 2], stem=stem),
            lambda: torchvision.models.ResNet(BasicBlock, [1, 2, 1, 2]),
        ),
    ],
    ids=["resnet18", "resnet50", "small_resnet"],
)
@torch.no_grad()
def test_torchvision_computes_the_same(encoder, net, stem):
    ours = trained(encoder(stem))
    theirs = in_torchvision(net(), ours, stem)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(theirs(images), ours(images))


def test_other_encoders_keep_their_names():
    encoder = MLP(3, 8)
    assert set(torchvision_state(encoder)) == set(encoder.state_dict())
