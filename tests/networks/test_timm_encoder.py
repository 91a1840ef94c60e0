"""Models of timm as encoders: widths, views, weights of other sizes, stages, and errors."""

from __future__ import annotations

import importlib.util
import warnings

import pytest
import torch
from torch import nn

from vje_ppl.errors import UserError
from vje_ppl.networks.timm_encoder import model_input, pretrained_state, resized, synchronized, timm_encoder
from vje_ppl.runs.encoder_weights import load_weights
from vje_ppl.train.freezing import freeze

timm = pytest.importorskip("timm", reason="encoder=timm needs timm")

#: timm's own small models for tests, with patches of 16 pixels or none.
VIT, RESNET = "test_vit", "test_resnet"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", [VIT, RESNET, "test_efficientnet", "test_convnext"])
def test_a_view_becomes_a_vector_of_the_models_width(name, channels):
    encoder = timm_encoder(name, channels, 32)
    assert encoder.training
    embedding = encoder(torch.randn(2, channels, 32, 32))
    assert embedding.shape == (2, encoder.dim)
    embedding.sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


@torch.no_grad()
def test_features_are_timms():
    encoder = timm_encoder(RESNET, 3, 64).eval()
    reference = timm.create_model(RESNET).eval()
    reference.load_state_dict(encoder.state_dict(), strict=False)
    images = torch.randn(2, 3, 64, 64)
    theirs = reference.forward_head(reference.forward_features(images), pre_logits=True)
    torch.testing.assert_close(encoder(images), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "size", "patch", "mean"),
    [
        ("vit_small_patch16_224", 224, 16, 0.5),
        ("vit_small_patch14_dinov2", 518, 14, 0.485),
        ("resnet50", 224, 1, 0.485),
        ("pvt_v2_b0", 224, 1, 0.485),  # its patches of 7 pixels overlap
    ],
)
def test_views_are_described_by_timm(name, size, patch, mean):
    found = model_input(name)
    assert (found.size, found.patch, found.mean[0]) == (size, patch, mean)


@pytest.mark.parametrize("image_size", [16, 32, 48])
def test_a_transformer_has_a_position_per_patch_of_the_view(image_size):
    encoder = timm_encoder(VIT, 3, image_size)
    assert encoder.pos_embed.shape[1] == (image_size // 16) ** 2 + encoder.num_prefix_tokens - encoder.no_embed_class
    assert encoder(torch.randn(1, 3, image_size, image_size)).shape == (1, 64)


@torch.no_grad()
def test_position_embeddings_are_interpolated_to_the_view_as_timm_does():
    large, small = timm_encoder(VIT, 3, 64), timm_encoder(VIT, 3, 32)
    line = load_weights([small], large.state_dict() | {"head.weight": torch.ones(2)}, "file")
    assert "ignored a classifier: head.weight" in line
    filtered = timm.models.vision_transformer.checkpoint_filter_fn(dict(large.state_dict()), small)
    torch.testing.assert_close(small.pos_embed.data, filtered["pos_embed"])
    assert torch.equal(small.patch_embed.proj.weight, large.patch_embed.proj.weight)


@torch.no_grad()
def test_tables_of_relative_positions_are_interpolated_to_the_view_as_timm_does():
    large, small = (timm_encoder("swin_tiny_patch4_window7_224", 3, side) for side in (224, 64))
    table, index = (f"layers.2.blocks.0.attn.relative_position_{one}" for one in ("bias_table", "index"))
    given = large.state_dict() | {index: torch.zeros(49, 49)}  # which files of earlier versions hold
    load_weights([small], given, "file")
    with warnings.catch_warnings(action="ignore"):
        filtered = timm.models.swin_transformer.checkpoint_filter_fn(dict(large.state_dict()), small)
    state = small.state_dict()
    assert state[table].shape != given[table].shape
    assert all(torch.equal(state[name], filtered[name]) for name in state)


@torch.no_grad()
@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "mobilenetv3_small_100"])
def test_synchronized_statistics_leave_the_network_as_it_is(name):
    encoder, images = timm_encoder(name, 3, 32).eval(), torch.randn(4, 3, 32, 32)
    expected = encoder(images)
    converted = synchronized(encoder)
    assert sum(isinstance(one, torch.nn.SyncBatchNorm) for one in converted.modules()) > 10
    assert torch.equal(converted(images), expected)


@torch.no_grad()
def test_interpolation_between_equal_grids_changes_nothing():
    encoder = timm_encoder(VIT, 3, 32)
    state = encoder.state_dict()
    assert torch.equal(resized(encoder, state)["pos_embed"], state["pos_embed"])


def test_timms_weights_are_those_of_the_pretrained_model(monkeypatch):
    encoder = timm_encoder(VIT, 3, 32)
    create = timm.create_model

    def published(name, pretrained=False, **options):
        model = create(name, **options)
        if pretrained:
            nn.init.constant_(model.patch_embed.proj.bias, 7.0)
        return model

    monkeypatch.setattr(timm, "create_model", published)
    before = torch.get_rng_state()
    state = pretrained_state(VIT, encoder, 3, 32)
    assert torch.equal(torch.get_rng_state(), before)
    load_weights([encoder], state, "file")
    assert (encoder.patch_embed.proj.bias == 7.0).all()


def test_weights_that_cannot_be_downloaded_are_one_sentence(monkeypatch):
    create = timm.create_model

    def offline(name, pretrained=False, **options):
        if pretrained:
            raise OSError("no network")
        return create(name, **options)

    encoder = timm_encoder(RESNET, 3, 32)
    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        ValueError, match=r"could not get timm's weights of test_resnet \(OSError\); they need the inter"
    ):
        pretrained_state(RESNET, encoder, 3, 32)


@pytest.mark.parametrize(("name", "stem"), [(VIT, "patch_embed."), (RESNET, "conv1.")])
def test_the_first_stage_is_the_stem_and_a_block(name, stem):
    encoder = timm_encoder(name, 3, 32)
    freeze([encoder], 1)
    frozen = {name for name, parameter in encoder.named_parameters() if not parameter.requires_grad}
    assert any(name.startswith(stem) for name in frozen)
    assert any(name.startswith(("blocks.0.", "layer1.")) for name in frozen)
    assert not any(name.startswith(("blocks.1.", "layer2.")) for name in frozen)
    with pytest.raises(UserError, match="the stages of this encoder"):
        freeze([encoder], 100)


MISTAKES = {
    "unknown": (("vit_tiny_patch6", 3, 32), "timm has no model vit_tiny_patch6; did you mean vit_tiny_patch16_384?"),
    "elsewhere": (("hf-hub:someone/model", 3, 32), "timm has no model hf-hub:someone/model"),
    "tag": (
        ("vit_tiny_patch16_224.nope", 3, 32),
        "timm cannot build vit_tiny_patch16_224.nope: Invalid pretrained tag",
    ),
    "patches": ((VIT, 3, 40), "augment.size expects a multiple of 16, got 40; give augment.size=32 or 48"),
    "less than a patch": ((VIT, 3, 8), "got 8; give augment.size=16"),
}


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence.replace("?", r"\?")):
        timm_encoder(*arguments)


def test_without_timm_the_error_names_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'timm, which is not installed; pip install "vje_ppl\[timm\]"'):
        timm_encoder(VIT, 3, 32)


def test_a_model_that_timm_does_not_group_into_stages_can_be_frozen_as_a_whole_only():
    with torch.device("meta"):
        encoder = timm.create_model("rdnet_tiny", num_classes=0)
    with pytest.raises(UserError, match="expects an encoder with stages, but RDNet has none"):
        freeze([encoder], 1)
    freeze([encoder], True)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
