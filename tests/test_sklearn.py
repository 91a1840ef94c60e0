"""`VJETransformer`: scikit-learn's own checks, in pipelines, and what it computes."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pandas
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.covariance import ledoit_wolf
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from vje_ppl.sklearn import VJETransformer

TINY = ("augment=digits", "encoder.width=16", "encoder.dim=8", "guide.network.depth=1")


def tiny(kind=VJETransformer, **parameters) -> VJETransformer:
    return kind(**{"epochs": 1, "encoder": "mlp", "overrides": TINY, **parameters})


class Columns(VJETransformer):
    """Takes any table as images, as scikit-learn's checks need: scaled to [0, 1), and filled up to a square."""

    def _shape(self, pixels):
        side = math.ceil(math.sqrt(pixels))
        return (1, side, side)

    def _tensor(self, flat):
        filled = np.zeros((len(flat), math.prod(self.image_shape_)), dtype=np.float32)
        filled[:, : flat.shape[1]] = np.where(flat < 0, flat, flat / (1 + np.abs(flat)))
        return super()._tensor(filled)


@parametrize_with_checks([tiny(Columns)])
def test_scikit_learns_own_check(estimator, check):
    check(estimator)


@pytest.mark.parametrize(("encoder", "overrides"), [("mlp", TINY), ("small_resnet", (*TINY[:2], TINY[3]))])
def test_features_of_an_image_do_not_depend_on_the_other_images(digits, encoder, overrides):
    fitted = tiny(encoder=encoder, overrides=overrides).fit(digits[0])
    alone = np.concatenate([fitted.transform(image[None]) for image in digits[0][:70]])
    np.testing.assert_array_equal(alone, fitted.transform(digits[0])[:70])


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Two hundred flattened digits in [0, 1], and their labels."""
    bunch = load_digits()
    return bunch.data[:200] / 16, bunch.target[:200]


@pytest.fixture(scope="module")
def fitted(digits) -> VJETransformer:
    return tiny().fit(digits[0])


def test_features_are_those_of_the_run(fitted, digits):
    images = torch.tensor(digits[0]).reshape(-1, 1, 8, 8)
    z, mean, _ = fitted.run_.embed(images)
    rounding = {"rtol": 1e-5, "atol": 1e-5}  # other batches: sums of at most 64 products in another order, in 3 layers
    np.testing.assert_allclose(fitted.transform(digits[0]), z.numpy(), **rounding)
    assert fitted.get_feature_names_out().tolist() == [f"vjetransformer{number}" for number in range(8)]
    means = tiny(features="mu").fit(digits[0]).transform(digits[0])
    np.testing.assert_allclose(means, mean.numpy(), **rounding)


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8)], ids=str)
def test_every_form_of_images_is_the_same(fitted, digits, shape):
    images = digits[0].reshape(-1, *shape)
    expected = fitted.transform(digits[0])
    np.testing.assert_array_equal(fitted.transform(images), expected)
    np.testing.assert_array_equal(tiny().fit(images).transform(digits[0]), expected)
    np.testing.assert_array_equal(tiny(image_shape=shape).fit(digits[0]).transform(torch.tensor(images)), expected)


def test_colour_images_are_flattened_channel_by_channel():
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 4, 6), dtype=np.uint8)
    fitted = tiny(image_shape=(3, 4, 6), overrides=TINY[1:]).fit(images.reshape(20, -1))
    assert fitted.run_.config.augment.mean == [0.485, 0.456, 0.406]
    expected = fitted.run_.embed(torch.from_numpy(images)).z
    np.testing.assert_allclose(fitted.transform(images), expected.numpy(), rtol=1e-5, atol=1e-5)


def test_score_samples_is_a_log_density_and_higher_for_normal_images(fitted, digits):
    z = fitted.transform(digits[0]).astype(np.float64)
    mean, covariance = z.mean(0), ledoit_wolf(z)[0]
    scores = fitted.score_samples(digits[0])
    np.testing.assert_allclose(scores, multivariate_normal(mean, covariance).logpdf(z), rtol=1e-6)
    noise = np.random.default_rng(0).integers(0, 2, digits[0].shape).astype(float)
    assert np.median(fitted.score_samples(noise)) < np.quantile(scores, 0.05)


def test_it_works_in_a_pipeline_under_cross_validation(digits, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    pipeline = make_pipeline(tiny(epochs=5), LogisticRegression(max_iter=500))
    scores = cross_val_score(pipeline, *digits, cv=2, error_score="raise")
    assert scores.min() > 0.2  # chance is 0.1
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_a_copy_and_a_pickle_embed_and_score_alike(fitted, digits):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.transform(digits[0]), fitted.transform(digits[0]))
    np.testing.assert_array_equal(again.score_samples(digits[0]), fitted.score_samples(digits[0]))
    unfitted = clone(fitted)
    assert unfitted.get_params() == fitted.get_params()
    assert not hasattr(unfitted, "run_")


def test_a_data_frame_becomes_one(fitted, digits):
    table = pandas.DataFrame(digits[0], columns=[f"pixel{number}" for number in range(64)])
    found = tiny().set_output(transform="pandas").fit_transform(table)
    np.testing.assert_array_equal(found.to_numpy(), fitted.transform(digits[0]))
    assert list(found.columns) == fitted.get_feature_names_out().tolist()


def test_a_run_folder_is_kept_and_reused(digits, tmp_path, capsys):
    kept = tiny(run_root=tmp_path / "a, b", verbose=True)
    first = kept.fit(digits[0]).run_.path
    assert first.parent == tmp_path / "a, b"
    assert "ELBO" in capsys.readouterr().out
    assert kept.fit(digits[0]).run_.path == first
    assert "already finished" in capsys.readouterr().out
    scores = kept.run_.score(torch.tensor(digits[0]).reshape(-1, 1, 8, 8), calibrate=False).score
    np.testing.assert_allclose(np.argsort(-scores), np.argsort(kept.score_samples(digits[0])))


def test_the_random_state_decides(fitted, digits):
    drawn = [tiny(random_state=np.random.RandomState(0)).fit(digits[0]).run_.config.seed for _ in range(2)]
    assert drawn[0] == drawn[1] != 0
    assert tiny(random_state=3).fit(digits[0]).run_.config.seed == 3
    drawn = [tiny(random_state=np.random.default_rng(3)).fit(digits[0]).run_.config.seed for _ in range(2)]
    assert drawn[0] == drawn[1] != 0


REFUSED = {
    "square": (lambda x: tiny().fit(x[:, :63]), "expected a square, got 63 pixels per image; give image_shape"),
    "shape": (lambda x: tiny(image_shape=(7, 9)).fit(x), r"expected image_shape=\(7, 9\), got 64 pixels"),
    "range": (lambda x: tiny().fit(x * 16), "fit expects floats in .0, 1., or bytes in 0..255"),
    "negative": (lambda x: tiny().fit(x - 1), "Negative values in data passed to VJETransformer"),
    "features": (lambda x: tiny(features="mean").fit(x), "features expects z or mu, got mean"),
    "text": (
        lambda x: tiny(overrides="seed=1").fit(x),
        r"overrides expects a list of texts, got a text; give overrides=",
    ),
    "no shape": (lambda x: tiny(image_shape=8).fit(x), r"image_shape expects \(H, W\) or \(C, H, W\), got 8"),
    "device": (lambda x: tiny(device="gpu").fit(x), "device expects cpu, or cuda or mps if torch finds"),
    "no folder": (
        lambda x: tiny().fit(x).run_.evaluate("eval=knn"),
        "load expects a run folder, but there is no .*; give its path",
    ),
    "override": (lambda x: tiny(overrides=["optimizer.lrr=1"]).fit(x), "did you mean lr"),
    "other images": (lambda x: tiny().fit(x).transform(x.reshape(-1, 4, 16)), r"images of shape \(1, 4, 16\), but the"),
    "no posterior": (
        lambda x: tiny(features="mu", overrides=("method=simsiam", *TINY[:-1])).fit(x),
        "features=mu needs a posterior",
    ),
}


@pytest.mark.parametrize(("call", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_mistake_is_one_sentence(call, sentence, digits):
    with pytest.raises(ValueError, match=sentence):
        call(digits[0])
