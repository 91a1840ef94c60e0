"""Encoders: shapes, stems, normalization, and ResNet features equal to torchvision's."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from vje_ppl.networks.encoders import MLP, ResNet, SmallResNet

DIMS = {"resnet18": 512, "resnet34": 512, "resnet50": 2048}


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("arch", DIMS)
def test_resnet_gives_pooled_features(arch, channels, stem):
    encoder = ResNet(arch, channels, stem)
    embedding = encoder(torch.randn(2, channels, 32, 32))
    assert encoder.dim == DIMS[arch]
    assert embedding.shape == (2, encoder.dim)
    assert (embedding >= 0).all()  # the mean of what ReLU lets through: no head after it


@pytest.mark.parametrize("width", [2, 16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_small_resnet_is_eight_times_its_width_wide(width, channels, stem):
    encoder = SmallResNet(width, channels=channels, stem=stem)
    embedding = encoder(torch.randn(2, channels, 32, 32))
    assert encoder.dim == 8 * width
    assert embedding.shape == (2, encoder.dim)
    assert (embedding >= 0).all()


@pytest.mark.parametrize(("blocks", "dim"), [((1,), 4), ((2, 1), 8), ((1, 2, 3), 16)], ids=str)
def test_small_resnet_has_the_blocks_asked_for(blocks, dim):
    encoder = SmallResNet(4, blocks)
    assert encoder.dim == dim
    assert len(encoder.stages) == sum(blocks)
    assert encoder(torch.randn(2, 3, 16, 16)).shape == (2, dim)


@pytest.mark.parametrize(("channels", "image_size"), [(1, 8), (3, 12)])
def test_mlp_embeds_flattened_pixels(channels, image_size):
    encoder = MLP(channels, image_size, dim=5, width=7, depth=3)
    assert encoder(torch.randn(4, channels, image_size, image_size)).shape == (4, 5)
    assert [part.out_features for part in encoder.modules() if isinstance(part, nn.Linear)] == [7, 7, 7, 5]
    assert encoder.dim == 5


def test_mlp_without_hidden_layers_is_linear():
    encoder = MLP(1, 4, dim=3, depth=0).double()
    images = torch.randn(2, 2, 1, 4, 4).double()
    torch.testing.assert_close(encoder(images.sum(0)) + encoder(0 * images[0]), encoder(images[0]) + encoder(images[1]))


@pytest.mark.parametrize(("stem", "resolution"), [("cifar", 32), ("imagenet", 8)])
@pytest.mark.parametrize(
    "make",
    [lambda stem: ResNet("resnet18", stem=stem), lambda stem: SmallResNet(4, stem=stem)],
    ids=["resnet", "small"],
)
def test_stem_keeps_or_quarters_the_resolution(make, stem, resolution):
    encoder = make(stem)
    features = encoder.stem(torch.randn(2, 3, 32, 32))
    assert features.shape[-2:] == (resolution, resolution)
    # Each stage but the first halves it.
    assert encoder.stages(features).shape[1:] == (encoder.dim, resolution // 8, resolution // 8)


ENCODERS = {
    "resnet18": lambda norm: ResNet("resnet18", norm=norm),
    "resnet50": lambda norm: ResNet("resnet50", stem="cifar", norm=norm),
    "small_resnet": lambda norm: SmallResNet(16, norm=norm),
    "mlp": lambda norm: MLP(3, 16, norm=norm),
}


@pytest.mark.parametrize("make", ENCODERS.values(), ids=ENCODERS)
def test_group_norm_leaves_no_batch_norm(make):
    encoder = make("group").eval()
    assert not any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in encoder.modules())
    images = torch.randn(3, 3, 16, 16)
    encoder.train()
    torch.testing.assert_close(encoder(images)[:1], encoder(images[:1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", ENCODERS.values(), ids=ENCODERS)
def test_batch_norm_is_what_batch_gives(make):
    encoder = make("batch")
    assert any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in encoder.modules())
    assert not any(isinstance(part, nn.GroupNorm) for part in encoder.modules())


@pytest.mark.parametrize("arch", DIMS)
def test_resnet_features_are_torchvisions_with_the_same_weights(arch):
    encoder = ResNet(arch, stem="imagenet")
    reference = getattr(torchvision.models, arch)()
    reference.fc = nn.Identity()
    reference.conv1, reference.bn1 = encoder.stem[0], encoder.stem[1]
    for number, stage in enumerate(encoder.stages, start=1):
        getattr(reference, f"layer{number}").load_state_dict(stage.state_dict())
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    encoder.double().eval(), reference.double().eval()  # exact: the same sums take other kernels
    with torch.no_grad():
        torch.testing.assert_close(encoder(images), reference(images))
    count = sum(parameter.numel() for parameter in reference.parameters())
    assert sum(parameter.numel() for parameter in encoder.parameters()) == count


@pytest.mark.parametrize("make", ENCODERS.values(), ids=ENCODERS)
def test_every_parameter_gets_a_gradient(make):
    encoder = make("batch")
    (encoder(torch.randn(4, 3, 16, 16)) * torch.randn(encoder.dim)).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


MISTAKES = {
    "arch": (lambda: ResNet("resnet20"), "arch expects one of resnet18, resnet34, resnet50, got 'resnet20'"),
    "resnet_stem": (lambda: ResNet("resnet18", stem="mnist"), "stem expects one of auto, cifar, imagenet, got 'mnist'"),
    "resnet_norm": (lambda: ResNet("resnet18", norm="layer"), "norm expects one of batch, group, got 'layer'"),
    "small_stem": (lambda: SmallResNet(4, stem="mnist"), "stem expects one of auto, cifar, imagenet, got 'mnist'"),
    "small_norm": (lambda: SmallResNet(4, norm="layer"), "norm expects one of batch, group, got 'layer'"),
    "small_width": (lambda: SmallResNet(0), "SmallResNet expects width >= 1 and one or more blocks in every stage"),
    "small_no_blocks": (lambda: SmallResNet(4, []), "SmallResNet expects width >= 1 and one or more blocks"),
    "small_stage_without_block": (lambda: SmallResNet(4, [1, 0]), "got 4 and \\[1, 0\\]"),
    "mlp_norm": (lambda: MLP(1, 8, norm="layer"), "norm expects one of batch, group, got 'layer'"),
    "small_stages": (lambda: SmallResNet(4, [1] * 11), "SmallResNet expects 10 stages and 1000 blocks at most"),
    "mlp_depth": (lambda: MLP(1, 8, depth=10**9), "MLP expects 1000 layers at most, got 1000000000"),
    "mlp_width": (lambda: MLP(1, 8, width=0), "MLP expects dim >= 1, width >= 1 and depth >= 0, got 64, 0 and 2"),
}


@pytest.mark.parametrize(("make", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_refused_in_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize(("image_size", "resolution"), [(32, 32), (64, 64), (96, 24), (224, 56)])
def test_stem_auto_follows_the_size_of_the_images(image_size, resolution):
    encoder = SmallResNet(4, image_size=image_size)
    assert encoder.stem(torch.randn(2, 3, image_size, image_size)).shape[-2:] == (resolution, resolution)
