"""`cached_views`: embeddings of a frozen encoder that are computed once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.commands import evaluate, one_sentence
from tests.helpers.states import assert_same, final_state
from vje_ppl.data.batches import evaluation_views
from vje_ppl.data.feature_views import FeatureViews
from vje_ppl.parallel.randomness import Stream, stream_seed
from vje_ppl.runs import checkpoint
from vje_ppl.runs.trained_run import load
from vje_ppl.settings.build import build_augment
from vje_ppl.settings.data import load_data
from vje_ppl.train import cached_views, session

CACHED = ("init=runs/first", "encoder.freeze=true", "cached_views=4", "knn.every=1")


@pytest.fixture
def first(train, tmp_path):
    assert train("run.name=first").returncode == 0
    return tmp_path / "runs" / "first"


@pytest.fixture
def seen(monkeypatch) -> list[FeatureViews]:
    """What runs train on in place of images."""
    found = []
    batches = session.TrainingBatches

    def kept(images, *arguments, **options):
        found.append(images)
        return batches(images, *arguments, **options)

    monkeypatch.setattr(session, "TrainingBatches", kept)
    return found


@pytest.mark.parametrize("further", [(), ("guide.whiten=4", "init_parts=[encoder,guide]")], ids=str)
def test_training_sees_what_the_encoder_makes_of_the_views(train, tmp_path, seen, further):
    assert train("run.name=first", *further[:1]).returncode == 0
    seen.clear()
    result = train("run.name=cached", *CACHED, *further)
    assert result.returncode == 0, result.stderr
    run = load(tmp_path / "runs/cached")
    data = load_data(run.config)
    augment = build_augment(run.config, data.channels, data.image_size)
    seed = stream_seed(Stream.CACHED_VIEWS, run.config.seed)
    views = evaluation_views(data.train, augment, views=4, seed=seed, device=torch.device("cpu"))
    with torch.no_grad():
        expected = torch.cat([torch.stack([run.module.encoder(view) for view in some], 1) for _, some in views])
    # Files in memory would be deleted with the run's; batch sizes differ, and with them the order of sums.
    torch.testing.assert_close(seen[0].features, expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(seen[0].labels, data.train.labels)
    before, after = (final_state(tmp_path / "runs" / name)["module"] for name in ("first", "cached"))
    assert_same(*({key: one for key, one in state.items() if ".encoder." in key} for state in (before, after)))
    assert any(not torch.equal(before[key], after[key]) for key in before)
    assert not (tmp_path / "runs/cached" / cached_views.FOLDER).exists()


def test_knn_is_that_of_the_images(first, train, tmp_path):
    for name, further in (("cached", CACHED), ("anew", (*CACHED, "cached_views=0"))):
        assert train(f"run.name={name}", *further).returncode == 0
    rows = [final_state(tmp_path / "runs" / name)["history"][0] for name in ("cached", "anew")]
    assert {key: value for key, value in rows[0].items() if key.startswith("knn/")} == {
        key: value for key, value in rows[1].items() if key.startswith("knn/")
    }
    result = evaluate("run=runs/cached", "eval=[knn]", "device=cpu")
    assert result.returncode == 0, result.stderr


def test_a_stopped_run_goes_on_with_the_same_embeddings(first, train, tmp_path, monkeypatch):
    options = (*CACHED, "trainer.epochs=4", "trainer.checkpoint_every=1")
    assert train("run.name=straight", *options).returncode == 0
    save = checkpoint.save

    def save_and_stop(path, state):
        save(path, state)
        if state["epoch"] == 2:
            raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", save_and_stop)
        assert train("run.name=stopped", *options).returncode != 0
    kept = list((tmp_path / "runs/stopped" / cached_views.FOLDER).rglob("train.npy"))
    assert len(kept) == 1
    with monkeypatch.context() as patch:
        patch.setattr(cached_views.FrozenEncoder, "_write", lambda *_: pytest.fail("embedded again"))
        resumed = train("run.name=stopped", *options)
    assert resumed.returncode == 0, resumed.stderr
    states = [final_state(tmp_path / "runs" / name) for name in ("straight", "stopped")]
    assert_same(*(state["module"] for state in states))
    again = train("run.name=stopped", *options)
    assert "already finished" in again.stdout
    assert not kept[0].exists()


def test_files_that_cannot_be_read_are_left_out(train, tmp_path, seen):
    rng = np.random.default_rng(0)
    for number in range(12):
        path = tmp_path / f"photos/train/{'ab'[number % 2]}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    (tmp_path / "photos/train/b/3.png").write_bytes(b"no image")
    small = ("encoder=mlp", "encoder.width=8", "encoder.dim=4", "guide.network.depth=1", "augment.size=8")
    photos = ("data=image_folder", "data.root=photos", "data.memory_mb=0", "data.on_error=skip")
    cached = (
        "encoder.freeze=true",
        "cached_views=2",
        "batch_size=4",
        "trainer.epochs=1",
        "data.workers=0",
        "knn.every=0",
    )
    result = train("run.name=photos", *photos, *small, *cached, small=False)
    assert result.returncode == 0, result.stderr
    images = load_data(load(tmp_path / "runs/photos").config).train
    readable = [not str(images.files[number]).endswith("b/3.png") for number in range(len(images))]
    assert sum(readable) == len(images) - 1
    assert seen[0].features.shape == (sum(readable), 3, 4)
    assert torch.equal(seen[0].labels, images.labels[torch.tensor(readable)])


@pytest.mark.parametrize("freeze", ["false", "1"])
def test_an_encoder_that_is_trained_is_not_cached(train, freeze):
    result = train("cached_views=4", f"encoder.freeze={freeze}")
    assert "give encoder.freeze=true, or cached_views=0" in one_sentence(result)


def test_more_views_than_are_cached_are_refused(first, train, tmp_path):
    result = train(*CACHED, "trainer.views=6")
    assert "trainer.views=6 needs as many views of each image, got cached_views=4" in one_sentence(result)
    assert not (tmp_path / "runs/cached" / cached_views.FOLDER).exists()


@pytest.mark.parametrize("change", ["seed=1", "cached_views=5", "augment.center_fraction=0.9", "data.subset=128"])
def test_embeddings_of_an_interrupted_run_are_not_those_of_a_changed_one(change, first, train, monkeypatch, seen):
    write = cached_views.FrozenEncoder._write

    def write_and_stop(self, images, path, views):
        write(self, images, path, views)
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(cached_views.FrozenEncoder, "_write", write_and_stop)
        assert train("run.name=changed", *CACHED).returncode != 0
    for name in ("changed", "anew"):
        assert train(f"run.name={name}", *CACHED, change).returncode == 0
    assert torch.equal(seen[-2].features, seen[-1].features)


@pytest.mark.parametrize("method", ["byol", "simsiam"])
def test_baselines_train_their_heads(train, method, tmp_path):
    small = ("data.subset=256", "batch_size=64", "encoder.width=16", "encoder.dim=8", "trainer.epochs=1")
    result = train(f"method={method}", *small, *CACHED[1:], "run.name=cached", small=False)
    assert result.returncode == 0, result.stderr
