"""The benchmark measures like with like, and writes what it measured. Its targets are not tested: they are timings."""

from __future__ import annotations

import json

import pytest
import torch
from hydra import compose, initialize_config_module
from PIL import Image

from vje_ppl.benchmark import command
from vje_ppl.benchmark.decoding import SIZES, TwoViews, decoding_pieces, usual_transform, write_photographs
from vje_ppl.benchmark.step import objective_pieces
from vje_ppl.data import StreamedImages, TrainingBatches
from vje_ppl.settings.build import build

OVERRIDES = ["encoder=small_resnet", "augment=cifar", "batch_size=8"]


@pytest.fixture
def config():
    with initialize_config_module("vje_ppl.configs", version_base="1.3"):
        yield compose("train", OVERRIDES)


def test_hand_fused_loss_is_the_pyro_objective(config):
    pieces = objective_pieces(config, images=12, dim=16, device=torch.device("cpu"))
    losses = []
    for name in ("pyro", "fused"):
        torch.manual_seed(0)  # the same noise: both draw it in one call of one shape
        losses.append(pieces[name]())
    # Sums of 16 features in float32, of terms of a few nats per dimension.
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-5)


def test_report_holds_results_targets_and_machine(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with initialize_config_module("vje_ppl.configs", version_base="1.3"):
        settings = compose("benchmark", ["only=[step]", "seconds=0.01", "batch_size=8"])
        assert command.benchmark(settings, ["step"]) == 0
    report = json.loads((tmp_path / "benchmark.json").read_text())
    ratios = {"objective_over_fused", "objective_overhead_of_step", "step_over_encoder"}
    assert ratios <= set(report["results"])
    assert all(value > 0 for name, value in report["results"].items() if name.endswith("_ms"))
    assert [row["target"] for row in report["targets"]] == ["<= 1.15", "<= 0.02", "<= 1.12"]
    assert report["machine"]["cores"] >= 1
    assert "over the bare encoder" in capsys.readouterr().out


def test_photographs_are_of_imagenets_sizes_and_differ(tmp_path):
    paths = write_photographs(tmp_path, 8)
    assert {path.parent.name for path in paths} == {"china", "flower"}
    sizes = []
    for path in paths:
        with Image.open(path) as photo:
            assert photo.format == "JPEG"
            sizes.append(photo.size)
    assert set(sizes) == set(SIZES)
    assert len({path.read_bytes() for path in paths}) == len(paths)


def test_both_decoding_pipelines_make_the_same_number_of_views(tmp_path):
    with initialize_config_module("vje_ppl.configs", version_base="1.3"):
        config = compose("train", ["data=imagenet"])
    pieces = decoding_pieces(config, tmp_path, workers=0, device=torch.device("cpu"), size=32, images=8)
    assert {name: (piece(), piece()) for name, piece in pieces.items()} == {"ours": (16, 16), "torchvision": (16, 16)}


def test_both_decoding_pipelines_normalize_alike(tmp_path):
    """Views of one recipe have about the same mean and spread, whichever library made them."""
    with initialize_config_module("vje_ppl.configs", version_base="1.3"):
        config = compose("train", ["data=imagenet"])
    paths = write_photographs(tmp_path, 16)
    augment = build(config.augment, "augment", channels=3, image_size=32)
    images = StreamedImages(paths, workers=0)
    batches = TrainingBatches(images, augment, batch_size=16, seed=0, device=torch.device("cpu"))
    ours = torch.cat([view for epoch in range(4) for batch in batches.epoch(epoch) for view in batch.views])
    dataset = TwoViews(paths, usual_transform(32))
    theirs = torch.stack([view for _ in range(4) for index in range(16) for view in dataset[index]])
    assert ours.shape == theirs.shape
    # 128 views each, whose means vary by about 0.6, spreads by 0.3: five standard errors of a difference.
    assert abs(ours.mean() - theirs.mean()) < 5 * 0.6 * (2 / 128) ** 0.5
    assert abs(ours.std() - theirs.std()) < 5 * 0.3 * (2 / 128) ** 0.5
