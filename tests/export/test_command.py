"""`python -m vje_ppl.export` as a user runs it: what it writes, and that others read the same from it."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager

import jaxtyping
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from safetensors import safe_open

import vje_ppl
from tests.helpers.commands import SMALL, command, one_sentence
from vje_ppl.data.loaders.digits import digits
from vje_ppl.errors import UserError
from vje_ppl.export.__main__ import main as export_main
from vje_ppl.export.onnx_graph import compare
from vje_ppl.train.__main__ import main as train_main

FILES = {"model.safetensors", "encoder.safetensors", "model.onnx", "README.md"}
KINDS = {
    "vje": ("knn.every=2",),
    "flow": ("guide=flow", "guide.layers=2", "guide.width=1"),
    "learned": ("guide=low_rank_normal", "prior=vamp", "likelihood.learn_df=true"),
    "simsiam": ("method=simsiam",),
    "small_resnet": ("encoder=small_resnet", "encoder.width=4", "trainer.precision=32", "guide.whiten=8"),
}


@contextmanager
def unchecked_shapes():
    """Without the checks of shapes, which would make the number of images a constant of the traced graph."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Run folders by kind, each with its export; made when first asked for."""
    root = tmp_path_factory.mktemp("runs")

    def of(kind: str):
        if not (root / kind).exists():
            other = kind in ("small_resnet", "simsiam")
            small = [one for one in SMALL if not (other and one.startswith(("encoder", "guide")))]
            made = command(train_main, "vje_ppl.train", *small, *KINDS[kind], f"run.root={root}", f"run.name={kind}")
            assert made.returncode == 0, made.stderr
            with unchecked_shapes():
                result = command(export_main, "vje_ppl.export", f"run={root / kind}")
            assert result.returncode == 0, result.stderr
            assert "onnxruntime differs from torch by" in result.stdout
        return root / kind

    return of


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_embeds_as_its_run_does(kind, exported, tmp_path):
    folder = exported(kind)
    assert {path.name for path in (folder / "export").iterdir()} == FILES
    images = digits().test.images
    ours = vje_ppl.load(folder).embed(images)
    alone = tmp_path / "model.safetensors"
    shutil.copy(folder / "export" / alone.name, alone)  # without the rest of the checkpoint
    for theirs in (vje_ppl.load(alone).embed(images), vje_ppl.load(folder / "export").embed(images)):
        for one, other in zip(ours, theirs, strict=True):
            assert (one is None and other is None) or torch.equal(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_onnx_takes_any_number_of_images(kind, exported):
    folder = exported(kind)
    session = onnxruntime.InferenceSession(folder / "export/model.onnx", providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    assert names == (["z"] if kind == "simsiam" else ["z", "mean", "scale"])
    run = vje_ppl.load(folder)
    for count in (1, 7):
        images = digits().test.images[:count]
        found = session.run(None, {"images": images.float().div(255).numpy()})
        for name, value in zip(names, found, strict=True):
            expected = run.embed(images)._asdict()[name].numpy()
            np.testing.assert_allclose(value, expected, atol=2e-5 * np.abs(expected).max())


def test_a_graph_that_says_something_else_is_refused(exported, tmp_path):
    folder = exported("vje")
    model = onnx.load(folder / "export/model.onnx")
    weight = max(model.graph.initializer, key=lambda one: len(one.raw_data))
    weight.CopyFrom(numpy_helper.from_array(1.001 * numpy_helper.to_array(weight), weight.name))
    onnx.save(model, tmp_path / "altered.onnx")
    run = vje_ppl.load(folder)
    compare(run, folder / "export/model.onnx", digits().test.images)
    with pytest.raises(UserError, match=r"differs from torch's by .* do not use this export"):
        compare(run, tmp_path / "altered.onnx", digits().test.images)


def test_the_card_tells_configuration_metrics_and_limits(exported):
    folder = exported("vje")
    card = (folder / "export/README.md").read_text(encoding="utf-8")
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert f"| weighted k-NN accuracy on z | {metrics['knn/z']:.4g} | k = {metrics['knn/k']}, T = 0.1 |" in card
    for part in ("digits (256 images) for 2 epochs", "## Limits", "seed: 0", "PolarTangentStudentT", "(N, 1, 8, 8)"):
        assert part in card
    assert str(folder.parent) not in card  # nobody else's folders


def test_the_encoder_says_how_to_build_it(exported):
    with safe_open(exported("small_resnet") / "export/encoder.safetensors", framework="pt") as file:
        assert file.metadata() == {"stem": "auto", "image_size": "8"}
        assert "conv1.weight" in file.keys()  # noqa: SIM118
        assert "layer4.0.bn2.running_var" in file.keys()  # noqa: SIM118


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_truncated_export_gets_a_sentence(exported, tmp_path, share):
    whole = (exported("vje") / "export/model.safetensors").read_bytes()
    path = tmp_path / "model.safetensors"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match="is not an exported run, or is damaged"):
        vje_ppl.load(path)


def test_an_export_scores_as_its_run_does_without_the_images_of_the_run(tmp_path, monkeypatch):
    options = (*SMALL, "calibration=0.3", f"run.root={tmp_path}", "run.name=a")
    assert command(train_main, "vje_ppl.train", *options).returncode == 0
    with unchecked_shapes():
        result = command(export_main, "vje_ppl.export", f"run={tmp_path / 'a'}", f"out={tmp_path / 'export'}")
    assert result.returncode == 0, result.stderr
    assert {path.name for path in (tmp_path / "export").iterdir()} == FILES | {"calibration"}
    assert "scores of 77 images kept out of training" in (tmp_path / "export/README.md").read_text(encoding="utf-8")
    images = digits().test.images
    ours = vje_ppl.load(tmp_path / "a").score(images)
    monkeypatch.setattr("vje_ppl.features.opened_run.load_data", None)  # images are out of reach
    export = vje_ppl.load(tmp_path / "export")
    theirs = export.score(images)
    np.testing.assert_allclose(theirs.score, ours.score, rtol=1e-6)
    np.testing.assert_array_equal(theirs.p_value, ours.p_value)
    assert np.isfinite(export.score(images, score="conditional", calibrate=False).score).all()
    with pytest.raises(UserError, match="which an export does not hold; give run=<run folder>"):
        export.score(images, score="knn_distance")
    with pytest.raises(UserError, match="does not hold the calibration scores of score=kl"):
        export.score(images, score="kl")
    shutil.copy(tmp_path / "export/model.safetensors", tmp_path)
    with pytest.raises(UserError, match="does not hold the statistics of the training images"):
        vje_ppl.load(tmp_path / "model.safetensors").score(images)


def test_mistakes_get_a_sentence(tmp_path):
    assert "give run=runs/<name>" in one_sentence(command(export_main, "vje_ppl.export"))
    assert "has no checkpoints/last.pt" in one_sentence(command(export_main, "vje_ppl.export", f"run={tmp_path}"))
