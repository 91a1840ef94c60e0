"""The inference network's shape, size and normalization."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vje_ppl.networks.inference_network import InferenceNetwork


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
@pytest.mark.parametrize("width", [1, 8])
def test_layers_are_as_wide_and_as_deep_as_asked(width, depth, norm):
    network = InferenceNetwork(6, 10, width, depth, norm)
    assert network(torch.randn(5, 6)).shape == (5, 10)
    linear = [part for part in network.modules() if isinstance(part, nn.Linear)]
    assert [part.out_features for part in linear] == [6 * width] * depth + [10]
    assert [part.bias is None for part in linear] == [True] * depth + [False]
    kind = {"batch": nn.BatchNorm1d, "group": nn.GroupNorm}[norm]
    assert sum(isinstance(part, kind) for part in network.modules()) == depth
    assert sum(isinstance(part, nn.ReLU) for part in network.modules()) == depth


def test_default_is_two_hidden_layers_of_eight_times_the_embedding_with_batch_norm():
    network = InferenceNetwork(6, 12)
    assert [part.out_features for part in network.modules() if isinstance(part, nn.Linear)] == [48, 48, 12]
    assert any(isinstance(part, nn.BatchNorm1d) for part in network.modules())


def test_batch_norm_sees_the_batch_and_group_norm_does_not():
    embedding = torch.randn(6, 4)
    for norm, same in (("batch", False), ("group", True)):
        network = InferenceNetwork(4, 8, norm=norm)
        assert torch.allclose(network(embedding)[:3], network(embedding[:3]), atol=1e-6) is same


@pytest.mark.parametrize(("width", "depth"), [(0, 2), (8, -1)])
def test_an_impossible_size_is_refused_in_a_sentence(width, depth):
    with pytest.raises(ValueError, match=f"expects width >= 1 and depth >= 0, got {width} and {depth}"):
        InferenceNetwork(4, 8, width, depth)


def test_an_unknown_norm_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="norm expects one of batch, group, got 'none'"):
        InferenceNetwork(4, 8, norm="none")
