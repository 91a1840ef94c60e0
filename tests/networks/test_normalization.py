"""Normalization layers by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vje_ppl.networks.normalization import norm_1d, norm_2d

CHANNELS = [1, 3, 16, 24, 31, 32, 48, 64, 100, 128, 512, 2048]


def test_batch_norms_are_torchs():
    assert type(norm_1d("batch")(6)) is nn.BatchNorm1d
    assert type(norm_2d("batch")(6)) is nn.BatchNorm2d


@pytest.mark.parametrize("channels", CHANNELS)
def test_groups_divide_the_channels_and_are_neither_many_nor_small(channels):
    layer = norm_2d("group")(channels)
    assert type(layer) is nn.GroupNorm
    assert layer.num_channels == channels
    assert channels % layer.num_groups == 0
    assert layer.num_groups <= 32
    assert layer.num_groups == 1 or channels // layer.num_groups >= 16


@pytest.mark.parametrize("channels", [16, 32, 64])
def test_group_norm_of_few_features_keeps_what_tells_images_apart(channels):
    features = torch.randn(8, channels)
    normalized = norm_1d("group")(channels)(features)
    # Up to shift and length, a group norm of all features keeps them: rows stay in proportion.
    centred = features - features.mean(1, keepdim=True)
    assert torch.cosine_similarity(normalized, centred, dim=1).min() > 0.7
    assert normalized.unique(dim=0).shape[0] == 8


@pytest.mark.parametrize("make", [norm_1d, norm_2d])
def test_group_norm_does_not_look_at_the_batch(make):
    shape = (5, 32) if make is norm_1d else (5, 32, 4, 4)
    layer, images = make("group")(32), torch.randn(shape)
    torch.testing.assert_close(layer(images)[:1], layer(images[:1]))


@pytest.mark.parametrize("make", [norm_1d, norm_2d])
def test_an_unknown_name_is_refused_in_a_sentence(make):
    with pytest.raises(ValueError, match="norm expects one of batch, group, got 'layer'"):
        make("layer")
