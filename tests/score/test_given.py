"""Arrays to score: of images, and of feature vectors for a run on features."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from sklearn.datasets import load_digits

import vje_ppl
from tests.helpers.commands import command, one_sentence
from vje_ppl.score.__main__ import main

TINY = ("encoder.width=16", "encoder.dim=8", "guide.network.depth=1", "augment=digits")
SHORT = {"epochs": 1, "batch_size": 32, "calibration": 0.2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run on images and a run on features, and arrays of 30 others for each."""
    root = tmp_path_factory.mktemp("given")
    images = load_digits().images[:230, None] / 16
    features = np.random.default_rng(0).normal(size=(230, 3, 8))
    at = f"run.root={root / 'runs'}"
    vje_ppl.fit(images[30:], "encoder=mlp", *TINY, at, "run.name=images", **SHORT)
    vje_ppl.fit(None, at, "run.name=features", features=features[30:], **SHORT)
    np.save(root / "images.npy", images[:30])
    np.savez(root / "images.npz", images=(images[:30] * 255).round().astype(np.uint8), labels=np.arange(30))
    np.save(root / "features.npy", features[:30])
    np.savez(root / "features.npz", features=features[:30])
    return root


def score(folder, run: str, *overrides: str):
    return command(main, "vje_ppl.score", f"run={folder / 'runs' / run}", "device=cpu", "workers=0", *overrides)


@pytest.mark.parametrize("name", ["images.npy", "images.npz", "features.npy", "features.npz"])
def test_each_row_of_an_array_is_a_row_of_the_table_with_the_numbers_of_python(name, folder):
    kind, out = name.split(".")[0], folder / f"scores-{name}"
    result = score(folder, kind, f"images={folder / name}", f"out={out}", "score=joint")
    assert result.returncode == 0, result.stderr
    with (out / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [f"{folder / name}[{number}]" for number in range(30)]
    loaded = vje_ppl.load(folder / "runs" / kind)
    array = np.load(folder / f"{kind}.npy")
    for found in (loaded.score(array, score="joint"), loaded.score(folder / name, score="joint")):
        np.testing.assert_allclose([float(row["score"]) for row in rows], found.score, rtol=1e-5)
        np.testing.assert_allclose([float(row["p_value"]) for row in rows], found.p_value, rtol=1e-5)
    drawn = {"contact_sheet.png"} if kind == "images" else set()
    assert {path.name for path in out.iterdir()} == {"scores.csv", "summary.json"} | drawn
    assert ("contact_sheet.png" in result.stdout) == bool(drawn)


def test_calibration_images_can_be_an_array(folder):
    run = vje_ppl.load(folder / "runs/features")
    array = np.load(folder / "features.npy")
    for calibrate in (array, folder / "features.npz"):
        p_values = run.score(array, calibrate=calibrate).p_value
        np.testing.assert_allclose(sorted(p_values), np.arange(2, 32) / 31)  # among themselves


def test_a_calibration_array_is_known_by_all_its_values(folder, monkeypatch):
    monkeypatch.setattr("vje_ppl.data.fingerprint.MOST_PIXELS", 1 << 6)  # as for an array of more than 256 MB
    run = vje_ppl.load(folder / "runs/images")
    array = (np.load(folder / "images.npy") * 255).round().astype(np.uint8)
    other = array.copy()
    other[1] = 255 - other[1]
    both = [run.score(array, calibrate=one, alpha=0.5).p_value for one in (array, other)]
    assert not np.array_equal(*both)


@pytest.mark.parametrize("name", ["mahalanobis", "conditional", "joint", "surprise_rank", "regret"])
def test_an_embedding_that_overflows_has_no_score_in_python_as_in_the_command(name, folder):
    array = np.load(folder / "features.npy").astype(np.float32)
    array[3] = np.sign(array[3]) * 3e38
    np.save(folder / "large.npy", array)
    clean = () if name in ("mahalanobis", "regret") else ("views=clean-clean",)
    out = folder / f"large-{name}"
    options = (f"score={name}", "calibrate=false", *clean)
    result = score(folder, "features", f"images={folder / 'large.npy'}", f"out={out}", *options)
    assert result.returncode == 0, result.stderr
    with (out / "scores.csv").open(encoding="utf-8", newline="") as file:
        written = [row["score"] for row in csv.DictReader(file)]
    views = {"views": "clean-clean"} if clean else {}
    found = vje_ppl.load(folder / "runs/features").score(array, score=name, calibrate=False, **views)
    missing = [3]
    assert [place for place, text in enumerate(written) if not text] == missing
    assert np.flatnonzero(np.isnan(found.score)).tolist() == missing
    assert found.reasons == {3: "its score is not finite"}


def test_a_refused_array_leaves_the_folder_to_the_next_command(folder):
    np.save(folder / "single.npy", np.load(folder / "features.npy")[:, 0])
    out = f"out={folder / 'scores-single'}"
    random = ("score=joint", "views=augmented-augmented")
    refused = one_sentence(score(folder, "features", f"images={folder / 'single.npy'}", *random, out))
    assert "score=joint with views=augmented-augmented needs two or more feature vectors of each image" in refused
    assert score(folder, "features", f"images={folder / 'single.npy'}", out).returncode == 0


def test_a_mistake_is_one_sentence(folder):
    np.save(folder / "flat.npy", np.zeros((4, 8)))
    np.save(folder / "none.npy", np.zeros((0, 1, 8, 8)))
    np.save(folder / "text.npy", np.array(["a"]))
    np.save(folder / "last.npy", np.zeros((4, 8, 8, 3)))
    (folder / "renamed.npy").write_bytes((folder / "images.npz").read_bytes())
    (folder / "empty.npz").write_bytes(b"")
    (folder / "damaged.npz").write_bytes((folder / "features.npz").read_bytes()[:-400])
    (folder / "broken.npy").write_bytes(b"no array")
    (folder / "broken.npz").write_bytes(b"no array")
    (folder / "photos").mkdir()
    channels = "score expects images of 1 or 3 channels, (N, C, H, W), got shape (4, 8, 8, 3)"
    for (run, name), words in {
        ("images", "nowhere.npy"): "nowhere.npy does not exist",
        **{("images", name): f"{name} cannot be read as an .npz or .npy file" for name in ("broken.npy", "empty.npz")},
        ("features", "damaged.npz"): "damaged.npz cannot be read as an .npz or .npy file",
        ("images", "last.npy"): f"last.npy: {channels}",
        ("images", "features.npz"): "features.npz has no array images",
        ("images", "flat.npy"): "flat.npy: score expects images of shape (N, C, H, W), got (4, 8)",
        ("images", "none.npy"): "none.npy has no rows",
        ("images", "text.npy"): "text.npy: can't convert np.ndarray",
        ("features", "images.npy"): "images.npy: score expects feature vectors of length 8",
        ("features", "photos"): "the run was trained on feature vectors, got images=",
    }.items():
        assert words in one_sentence(score(folder, run, f"images={folder / name}"))
    assert score(folder, "images", f"images={folder / 'renamed.npy'}").returncode == 0
    both = f"images=[{folder / 'images.npy'},{folder / 'photos'}]"
    assert "expects one array alone" in one_sentence(score(folder, "images", both))
