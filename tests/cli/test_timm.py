"""A small vision transformer of timm trains, resumes, exports, embeds and is evaluated like any encoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import vje_ppl
from tests.helpers.commands import command, one_sentence
from tests.helpers.states import assert_same, final_state
from vje_ppl.runs import checkpoint

VIT = (
    *("data=image_folder", "data.root=images", "encoder=timm", "encoder.name=test_vit", "guide.network.depth=1"),
    *("batch_size=16", "trainer.epochs=2", "trainer.precision=32", "knn.every=2"),
)


@pytest.fixture(autouse=True)
def images(tmp_path):
    """Two classes of noise of 32×32 pixels."""
    pytest.importorskip("timm", reason="encoder=timm needs timm")
    rng = np.random.default_rng(0)
    for label in range(2):
        folder = tmp_path / "images" / f"class {label}"
        folder.mkdir(parents=True)
        for number in range(30):
            pixels = rng.integers(0, 156, (32, 32, 3)) + 100 * label
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")


def test_a_vision_transformer_trains_resumes_embeds_and_exports(train, tmp_path, monkeypatch):
    save = checkpoint.save

    def save_and_keep(path, state):
        save(path, state)
        if state["epoch"] == 1:
            save(tmp_path / "runs/stopped/checkpoints/last.pt", state)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", save_and_keep)
        straight = train(*VIT, "run.name=straight", "trainer.checkpoint_every=1", small=False)
    assert straight.returncode == 0, straight.stderr
    assert "of 32 pixels, with the model's mean 0.5, 0.5, 0.5 and std 0.5, 0.5, 0.5" in straight.stdout
    resumed = train(*VIT, "run.name=stopped", small=False)
    assert "resumes after epoch 1" in resumed.stdout, resumed.stderr
    first, second = (final_state(tmp_path / "runs" / name) for name in ("straight", "stopped"))
    assert_same(first["module"], second["module"])

    run = vje_ppl.load("runs/straight")
    assert (run.config.augment["size"], list(run.config.augment.mean)) == (32, [0.5, 0.5, 0.5])
    pixels = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    embedded = run.embed(pixels)
    assert embedded.z.shape == embedded.scale.shape == (3, 64)

    pytest.importorskip("onnxruntime", reason="export needs onnxruntime")
    from vje_ppl.export.__main__ import main

    exported = command(main, "vje_ppl.export", "run=runs/straight", "images=4")
    assert exported.returncode == 0, exported.stderr
    assert torch.equal(vje_ppl.load("runs/straight/export").embed(pixels).z, embedded.z)
    smaller = ("augment.size=16", "encoder.weights=runs/straight/export/encoder.safetensors", "encoder.freeze=2")
    continued = train(*VIT, *smaller, "run.name=smaller", "trainer.epochs=1", small=False)
    assert "78 of 78 tensors of the encoder" in continued.stdout, continued.stderr


def test_batch_normalization_that_the_option_does_not_change_is_refused(train):
    overrides = ("encoder=timm", "encoder.name=test_resnet", "norm=group", "trainer.epochs=0")
    sentence = one_sentence(train(*overrides, small=False))
    assert "norm=group does not change the batch normalization in test_resnet; give norm=batch" in sentence


def test_a_name_that_timm_does_not_know_is_one_sentence(train):
    result = train(*VIT, "encoder.name=vit_tinny_patch16_224", small=False)
    assert one_sentence(result).endswith("did you mean vit_tiny_patch16_224?")


def test_a_name_is_needed(train):
    result = train("encoder=timm", small=False)
    assert "encoder.name has no value; give encoder.name=... on the command line." in one_sentence(result)
