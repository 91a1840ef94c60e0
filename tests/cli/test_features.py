"""Runs on feature vectors from the outside: trained, evaluated, scored and exported as runs on images are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kstest

import vje_ppl
from tests.helpers.commands import command, evaluate, one_sentence, report
from vje_ppl.errors import UserError
from vje_ppl.export.__main__ import main as export_main
from vje_ppl.train.__main__ import main as train_main

DIM, VIEWS = 6, 4
SMALL = ("guide.network.depth=1", "batch_size=64", "trainer.epochs=3", "knn.every=3")


def drawn(images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Views around the images of three classes, and the classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, images)
    image = 3 * np.eye(3, DIM)[labels] + rng.normal(size=(images, DIM))
    return (5 + image[:, None] + 0.3 * rng.normal(size=(images, VIEWS, DIM))).astype(np.float32), labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("features")
    (features, labels), (test, test_labels) = drawn(600, 0), drawn(200, 1)
    np.savez(root / "some.npz", features=features, labels=labels, test_features=test, test_labels=test_labels)
    data = ("data=features", f"data.root={root}", "data.file=some.npz", "calibration=0.2")
    result = command(train_main, "vje_ppl.train", f"run.root={root / 'runs'}", "run.name=run", *data, *SMALL)
    assert result.returncode == 0, result.stderr
    return root / "runs" / "run"


def test_embeddings_are_the_vectors_on_the_scale_of_the_training(folder):
    features, _ = drawn(600, 0)
    run = vje_ppl.load(folder)
    kept = run.module.encoder.mean
    z = run.embed(torch.from_numpy(features)).z
    # A fifth of the images is kept for calibration; four standard errors of a mean of 480 images.
    np.testing.assert_allclose(kept, features.mean((0, 1)), atol=4 * 2 / 480**0.5)
    np.testing.assert_allclose(z, (features[:, 0] - kept.numpy()) / run.module.encoder.scale.numpy(), rtol=1e-5)
    assert torch.equal(z, run.embed(torch.from_numpy(features[:, 0])).z)


def test_every_evaluation_runs_and_has_no_complexity(folder):
    kinds = "eval=[knn,linear,one_class,uncertainty]"
    result = evaluate(f"run={folder}", kinds, "one_class.classes=[0]", "device=cpu")
    assert result.returncode == 0, result.stderr
    found = report(folder)
    accuracy = {row["features"]: row["top1"] for row in found["knn"]["rows"] if row["encoder"] == "trained"}
    assert accuracy["z"] > 0.9
    assert "complexity" not in {row["score"] for row in found["one_class"]["rows"]}


@pytest.mark.parametrize("score", ["mahalanobis", "joint", "conditional", "typicality"])
def test_p_values_of_new_images_are_uniform(folder, score):
    found = vje_ppl.load(folder).score(drawn(400, 2)[0], score=score)
    assert kstest(found.p_value, "uniform").pvalue > 1e-3
    odd = vje_ppl.load(folder).score(drawn(50, 3)[0] * [-1, 1, -1, 1, -1, 1], score="mahalanobis")
    assert odd.flag.all()


def test_images_and_single_vectors_are_refused(folder):
    run = vje_ppl.load(folder)
    with pytest.raises(ValueError, match=r"feature vectors of length 6, .* got torch.float32 of shape \(2, 1, 8, 8\)"):
        run.embed(torch.zeros(2, 1, 8, 8))
    with pytest.raises(UserError, match="two or more feature vectors of each image"):
        run.score(np.zeros((3, DIM), np.float32), score="conditional")


def test_an_export_embeds_as_the_run_does(folder):
    result = command(export_main, "vje_ppl.export", f"run={folder}")
    assert result.returncode == 0, result.stderr
    features = torch.from_numpy(drawn(5, 4)[0])
    run, export = (vje_ppl.load(place).embed(features) for place in (folder, folder / "export"))
    assert all(torch.equal(one, other) for one, other in zip(run, export, strict=True))


def test_fit_takes_features(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    features, labels = drawn(200, 5)
    run = vje_ppl.fit(features=features, labels=labels, epochs=1, batch_size=64, **{"guide.network.depth": 1})
    assert run.embed(torch.from_numpy(features)).mean.shape == (200, DIM)
    assert run.path.name.startswith("features-")
    with pytest.raises(UserError, match="both images and features"):
        vje_ppl.fit(np.zeros((4, 8, 8)), features=features)
    with pytest.raises(UserError, match="fit got features and data=digits"):
        vje_ppl.fit("data=digits", features=features)
    with pytest.raises(UserError, match="fit expects features as floats"):
        vje_ppl.fit(features=features[:, 0])


def test_a_diagnosis_says_what_vectors_do_not_have(folder):
    results = vje_ppl.load(folder).diagnose("uncertainty.images=60", sections=["uncertainty", "active_features"])
    written = (folder / "diagnosis/diagnosis.json").read_text(encoding="utf-8")
    assert "there are no corruptions and no pictures of images" in written
    names = {path.stem for path in results.pictures}
    assert names
    assert names.isdisjoint({"scale_under_corruption", "most_and_least_certain"})


def test_a_run_starts_from_the_guide_of_another_and_scales_its_own_vectors(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    features, start = 100 * drawn(200, 6)[0], f"init={folder}"
    small = {"epochs": 0, "batch_size": 64, "guide.network.depth": 1}
    with pytest.raises(UserError, match=r"has nothing to start from; give init_parts=\[guide\]"):
        vje_ppl.fit(start, features=features, **small)
    run = vje_ppl.fit(start, "init_parts=[guide]", features=features, **small)
    assert "tensors of the guide" in capsys.readouterr().out
    z, before = run.embed(torch.from_numpy(features)), vje_ppl.load(folder)
    np.testing.assert_allclose(z.z.std(0), np.ones(DIM), rtol=0.3)
    guide, theirs = run.module.program.guide.state_dict(), before.module.program.guide.state_dict()
    assert all(torch.equal(guide[name], theirs[name]) for name in guide if not name.startswith("encoder."))
    both = vje_ppl.fit(start, "init_parts=[encoder,guide]", features=features, **small)
    assert torch.equal(both.module.encoder.scale, before.module.encoder.scale)


def test_other_data_are_vectors_too(folder, tmp_path):
    refused = one_sentence(evaluate(f"run={folder}", "eval=ood", "device=cpu"))
    assert "ood.data=sample_photos holds images, but the run was trained on feature vectors; give data of" in refused
    np.savez(tmp_path / "odd.npz", features=drawn(60, 7)[0] * [-1, 1, -1, 1, -1, 1])
    other = f"ood.data=[{{name: features, root: '{tmp_path}', file: odd.npz}}]"
    result = evaluate(f"run={folder}", "eval=ood", "device=cpu", "scores.only=[mahalanobis]", other)
    assert result.returncode == 0, result.stderr
    rows = [row for row in report(folder)["ood"]["rows"] if row["encoder"] == "trained" and row["features"] == "z"]
    assert rows[0]["auroc"] > 0.9


def test_the_card_of_an_export_tells_vectors_from_images(folder):
    assert command(export_main, "vje_ppl.export", f"run={folder}").returncode == 0
    card = (folder / "export/README.md").read_text(encoding="utf-8")
    assert "| the scaling of the feature vectors |" in card
    assert "| feature vectors to `z`" in card
    assert "init:" not in card
