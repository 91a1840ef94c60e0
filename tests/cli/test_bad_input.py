"""Every mistake gets one sentence, no traceback, and loses nothing."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.helpers.commands import one_sentence


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        pytest.param(["trainer.epoch=3"], "did you mean epochs?", id="unknown key"),
        pytest.param(["likelihood=polar_student"], "did you mean polar_student_t?", id="unknown option"),
        pytest.param(["likelihood/radius=both"], "log_student_t, none, normal, student_t", id="unknown nested option"),
        pytest.param(["likelihood.df=0"], "positive degrees of freedom", id="degrees of freedom of zero"),
        pytest.param(["batch_size=300"], "256", id="batch larger than the data set"),
        pytest.param(["batch_size=1"], "norm=group", id="batch of one with batch normalization"),
        pytest.param(["guide.whiten=8", "batch_size=8"], "at least 16 images", id="batch too small to whiten"),
        pytest.param(["guide.whiten=7"], "divides the 8 features", id="group that does not divide the features"),
        pytest.param(["trainer.accumulate=0"], "at least 1, got 0", id="a step in no part"),
        pytest.param(["trainer.accumulate=3"], "multiple of 3; try batch_size=63", id="parts that do not divide"),
        pytest.param(["trainer.accumulate=64"], "norm=group", id="parts of one with batch normalization"),
        pytest.param(["augment.size=9"], "8", id="image smaller than the crop"),
        pytest.param(["optimizer.lr=1e30"], "first at", id="non-finite loss"),
        pytest.param(["optimizer.lr=fast"], "optimizer", id="learning rate that is no number"),
        pytest.param(["likelihood=custom"], "likelihood._target_", id="custom part not given"),
        pytest.param(["likelihood=custom", "likelihood._target_=no_such.Part"], "no_such", id="custom part missing"),
        pytest.param(["run.name=../out"], "run.name", id="run name outside the root"),
        pytest.param(["resume=nowhere"], "nowhere", id="nothing to resume"),
        pytest.param(["logger=wandb"], "wandb", id="logger that is not installed"),
    ],
)
def test_mistake_gets_one_sentence(train, overrides, said):
    assert said in one_sentence(train(*overrides))


@pytest.mark.parametrize("data", ["cifar10", "cifar100", "fashion_mnist", "stl10"])
def test_missing_root_names_the_folder_and_the_download(train, data):
    said = one_sentence(train(f"data={data}", "data.root=nowhere", small=False))
    assert "nowhere" in said
    assert f"python -m vje_ppl.train data={data} data.root=nowhere data.download=true" in said


@pytest.mark.parametrize("data", ["imagenet", "image_folder"])
def test_missing_root_that_cannot_be_downloaded(train, data):
    assert "nowhere" in one_sentence(train(f"data={data}", "data.root=nowhere", small=False))


def test_mistake_under_debug_shows_a_traceback(train):
    result = train("batch_size=300", "debug=true")
    assert result.returncode != 0
    assert "Traceback" in result.stderr
    assert "error: " in result.stderr


def photograph(path, side=16, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)


FOLDER = ("data=image_folder", "data.root=images", "batch_size=8", "trainer.epochs=1")


def test_folder_without_images_is_named(train, tmp_path):
    (tmp_path / "images" / "empty").mkdir(parents=True)
    assert "images" in one_sentence(train(*FOLDER, small=False))


def test_truncated_image_is_named_or_skipped(train, tmp_path):
    for number in range(12):
        photograph(tmp_path / "images" / f"{number:02}.jpg", seed=number)
    broken = tmp_path / "images" / "05.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    assert "05.jpg" in one_sentence(train(*FOLDER, small=False))
    skipped = train(*FOLDER, "data.on_error=skip", small=False)
    assert skipped.returncode == 0, skipped.stderr
    assert "05.jpg" in skipped.stdout + skipped.stderr


def test_unlabelled_images_train_without_knn(train, tmp_path):
    for number in range(12):
        photograph(tmp_path / "images" / f"{number:02}.png", seed=number)
    result = train(*FOLDER, small=False)
    assert result.returncode == 0, result.stderr
    assert "skipped" in result.stdout
    assert (tmp_path / "runs").is_dir()


def test_truncated_checkpoint_falls_back_to_the_one_before(train, tmp_path):
    assert train("run.name=a", "trainer.checkpoint_every=2").returncode == 0
    folder = tmp_path / "runs" / "a" / "checkpoints"
    last = folder / "last.pt"
    last.write_bytes(last.read_bytes()[:-100])
    resumed = train("run.name=a", "trainer.checkpoint_every=2")
    assert resumed.returncode == 0, resumed.stderr
    assert "warning: " in resumed.stdout
    last.write_bytes(b"")
    (folder / "previous.pt").write_bytes(b"")
    assert "last.pt" in one_sentence(train("run.name=a", "trainer.checkpoint_every=2"))


def test_other_configuration_lists_the_differences_and_keeps_the_run(train, tmp_path):
    assert train("run.name=a").returncode == 0
    before = (tmp_path / "runs" / "a" / "checkpoints" / "last.pt").read_bytes()
    said = one_sentence(train("run.name=a", "encoder.width=32", "optimizer.lr=0.5"))
    assert "encoder.width: 16 -> 32" in said
    assert "optimizer.lr: 0.001 -> 0.5" in said
    assert (tmp_path / "runs" / "a" / "checkpoints" / "last.pt").read_bytes() == before


def test_resume_never_moves_the_earlier_run_aside(train, tmp_path):
    assert train("run.name=a").returncode == 0
    before = (tmp_path / "runs" / "a" / "checkpoints" / "last.pt").read_bytes()
    result = train("run.name=a", "resume=never", "encoder.width=32")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "runs" / "a.1" / "checkpoints" / "last.pt").read_bytes() == before


def test_run_folder_in_the_way_of_a_file(train, tmp_path):
    (tmp_path / "runs").write_text("a file")
    assert "runs" in one_sentence(train())
