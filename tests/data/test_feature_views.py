"""Feature vectors in place of images: which vector is a view, and how files of them are read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vje_ppl.data.augment import ViewKey
from vje_ppl.data.batches import TrainingBatches, evaluation_batches, evaluation_views
from vje_ppl.data.feature_views import FeatureViews, GivenViews, mean_and_scale
from vje_ppl.data.loaders.features import features
from vje_ppl.errors import UserError

IMAGES, DIM = 400, 3
CPU = torch.device("cpu")


def numbered(views: int) -> FeatureViews:
    """Vectors that name their image and their view."""
    image, view = torch.meshgrid(torch.arange(IMAGES), torch.arange(views), indexing="ij")
    return FeatureViews(torch.stack([image, view, image * view], -1).float())


def of_views(given: FeatureViews, wanted: int, clean: bool = False) -> np.ndarray:
    """Which vector each view of each image is, (IMAGES, wanted)."""
    recipe = GivenViews(clean=clean, channels=DIM)
    keys = [ViewKey(0, 5, number, slice(0, IMAGES), IMAGES) for number in range(wanted)]
    found = torch.stack([recipe.view(given.images, key).flatten(1) for key in keys], 1)
    assert torch.equal(found[..., 0], torch.arange(IMAGES)[:, None].expand(-1, wanted).float())
    return found[..., 1].long().numpy()


@pytest.mark.parametrize("views", [2, 3, 6])
def test_the_views_of_an_image_are_its_vectors_in_random_order(views):
    order = of_views(numbered(views), views)
    assert (np.sort(order, 1) == np.arange(views)).all()
    assert len(np.unique(order, axis=0)) > 1  # another order for another image


@pytest.mark.parametrize("views", [2, 3, 4, 5])
def test_pairs_of_further_views_are_two_different_vectors(views):
    order = of_views(numbered(views), 12)
    assert (order[:, ::2] != order[:, 1::2]).all()
    assert len(np.unique(order[:, 8:10], axis=0)) == views * (views - 1)  # in every order


def test_the_vector_of_the_undisturbed_image_is_evaluated_and_not_trained_on():
    given = numbered(4)
    assert (of_views(given, 3, clean=True) > 0).all()
    (_, views), *_ = evaluation_views(given, GivenViews(clean=True, channels=DIM), views=2, seed=1, device=CPU)
    assert (views[0][:, 1] == 0).all()
    assert (views[1][:, 1] > 0).all()


def test_several_processes_share_the_batches_of_one():
    given, recipe = numbered(3), GivenViews(channels=DIM)

    def first(**share: int):
        made = TrainingBatches(given, recipe, batch_size=8, seed=2, device=CPU, **share)
        return next(made.epoch(1)).views

    whole, parts = first(), [first(rank=rank, world_size=2) for rank in range(2)]
    for number, view in enumerate(whole):
        assert torch.equal(view, torch.cat([part[number] for part in parts]))


def test_more_views_than_vectors_are_refused_and_so_is_a_single_vector():
    with pytest.raises(UserError, match=r"trainer.views=4 .* there are 3 to train on"):
        TrainingBatches(numbered(3), GivenViews(channels=DIM), batch_size=8, seed=0, device=CPU, views=4)
    with pytest.raises(UserError, match="two or more feature vectors of each image, but there is 1"):
        of_views(numbered(1), 1)
    with pytest.raises(UserError, match="beside that of the undisturbed image, but there is 1"):
        of_views(numbered(2), 1, clean=True)


def test_images_are_not_taken_for_vectors():
    recipe = GivenViews(channels=DIM)
    with pytest.raises(UserError, match="expected feature vectors of length 3"):
        recipe.evaluation(torch.zeros(2, 3, 8, 8))
    with pytest.raises(UserError, match="expected feature vectors of length 3"):
        next(evaluation_batches(FeatureViews(torch.zeros(2, 2, 5)), recipe.evaluation, batch_size=2, device=CPU))


def test_mean_and_scale_are_those_of_all_views():
    given = np.random.default_rng(0).normal(3, 2, (50, 4, 6)).astype(np.float32)
    given[:, :, 5] = 7.0
    mean, scale = mean_and_scale(torch.from_numpy(given))
    rows = given.reshape(-1, 6).astype(float)
    np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-6)
    np.testing.assert_allclose(scale, [*rows.std(0)[:5], 1.0], rtol=1e-6)


def written(tmp_path, **arrays):
    np.savez(tmp_path / "some.npz", **arrays)
    return {"root": str(tmp_path), "file": "some.npz"}


def test_a_file_with_labels_and_test_features(tmp_path):
    rng = np.random.default_rng(0)
    given, test = rng.normal(size=(10, 3, 4)), rng.normal(size=(5, 4))
    at = written(tmp_path, features=given, labels=["b", "a"] * 5, test_features=test, test_labels=["a"] * 5)
    data = features(**at, subset=6)
    assert (len(data.train), data.channels, data.image_size, data.num_classes) == (6, 4, 1, 2)
    assert torch.equal(data.test.features, torch.from_numpy(test[:, None]).float())
    assert data.test.labels.tolist() == [0] * 5
    every = features(**at).train
    assert torch.equal(every.features, torch.from_numpy(given).float())
    assert every.labels.tolist() == [1, 0] * 5


def test_features_alone_need_no_labels(tmp_path):
    np.save(tmp_path / "some.npy", np.ones((4, 2, 3), np.float16))
    data = features(str(tmp_path), "some.npy")
    assert data.bank is None
    assert data.train.features.dtype == torch.float32


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"features": np.zeros((4, 3))}, "with two or more views, got float64 of shape (4, 3)"),
        ({"features": np.zeros((4, 1, 3))}, "with two or more views, got float64 of shape (4, 1, 3)"),
        ({"features": np.zeros((4, 2, 3), int)}, "as floats of shape (images, views, features)"),
        ({"features": np.zeros((4, 2, 1))}, "of length 2 or more, which have a direction, got vectors of length 1"),
        ({"features": np.full((4, 2, 3), np.nan)}, "4 of 4 rows have some, row 0 first"),
        ({"features": np.full((4, 2, 3), 1e300)}, "infinite values in float32"),
        ({"features": np.zeros((4, 2, 3)), "test_features": np.zeros((2, 5))}, "vectors of one length, got 3 and 5"),
        ({"features": np.zeros((4, 2, 3)), "labels": [1, 2]}, "but labels has 2"),
        ({"images": np.zeros((4, 2, 3))}, "has no array features"),
    ],
)
def test_other_arrays_are_refused(tmp_path, arrays, sentence):
    with pytest.raises(UserError) as error:
        features(**written(tmp_path, **arrays))
    assert sentence in str(error.value)


def test_missing_and_damaged_files_are_named(tmp_path):
    (tmp_path / "bad.npy").write_bytes(b"no array")
    for name, words in {"bad.npy": "cannot be read", "absent.npy": "does not exist", "absent.npz": "does not"}.items():
        with pytest.raises(UserError, match=f"{name} {words}"):
            features(str(tmp_path), name)
    with pytest.raises(UserError, match=r"data=features needs a file"):
        features()
