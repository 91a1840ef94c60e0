"""ImageNet's experiment for real, on a small tree in ImageNet's layout made of photographs."""

from __future__ import annotations

import os
import signal

import pytest
import torch

from tests.cli.test_kill import finish, signal_once_under_way
from tests.helpers.cases import composed
from tests.helpers.states import assert_same, compare, final_state
from vje_ppl.benchmark.decoding import write_photographs
from vje_ppl.data.batches import TrainingBatches
from vje_ppl.train.step import TrainingStep

IMAGES, BATCH, EPOCHS = 24, 8, 2
OVERRIDES = (
    *("experiment=imagenet_resnet50", "data.root=imagenet", "data.workers=2", "augment.size=32"),
    *(f"batch_size={BATCH}", "trainer.accumulate=2", "trainer.precision=bf16", "trainer.channels_last=true"),
    *(f"trainer.epochs={EPOCHS}", "trainer.checkpoint_every=1", "trainer.device=cpu"),
    *("guide.network.width=1", "guide.network.depth=1"),
)
NARROW = ("encoder=small_resnet", "encoder.width=4", "knn.every=0")
LARGE = ("augment.size=64", "data.subset=16", "optimizer=sgd", "knn.every=0")  # SGD: smaller checkpoints


def write_tree(root):
    """`train` and `val`, a folder a class, of different photographs."""
    write_photographs(root / "imagenet" / "train", IMAGES, seed=0)
    write_photographs(root / "imagenet" / "val", 6, seed=1)


def test_experiment_is_imagenet_with_a_resnet_50():
    config = composed("experiment=imagenet_resnet50")
    assert config.data._target_.endswith(".imagenet")
    assert config.encoder.arch == "resnet50"
    assert config.augment.filters.blur.p == 0.5
    assert config.guide.network.width == 2
    # DINO's learning rate per image for AdamW, and its share of warm-up.
    assert config.optimizer.lr == pytest.approx(5e-4 * config.batch_size / 256)
    assert config.trainer.warmup * config.trainer.epochs == 10


@pytest.mark.parametrize("method", ["simsiam", "vicreg"])
def test_baselines_go_with_the_experiment(method):
    config = composed("experiment=imagenet_resnet50", f"method={method}")
    assert config.get("guide") is None
    assert config.batch_size == composed("experiment=imagenet_resnet50").batch_size


@pytest.fixture
def seen(monkeypatch):
    """The images of every batch that is trained on, in order, as (step, image numbers)."""
    batches: list[tuple[int, list[int]]] = []
    epoch = TrainingBatches.epoch

    def watched(self, *arguments):
        for batch in epoch(self, *arguments):
            batches.append((batch.step, batch.index.tolist()))
            yield batch

    monkeypatch.setattr(TrainingBatches, "epoch", watched)
    return batches


def test_run_stopped_in_the_middle_of_an_epoch_repeats_and_skips_no_image(train, tmp_path, seen, monkeypatch):
    write_tree(tmp_path)
    straight = train(*OVERRIDES, *NARROW, "run.name=straight", small=False)
    assert straight.returncode == 0, straight.stderr
    assert "imagenet: 24 training images, from files" in straight.stdout
    assert (
        f"steps   {BATCH} images, in micro-batches of 4 per device; batch statistics are per micro-batch"
        in straight.stdout
    )
    undisturbed = list(seen)
    assert [step for step, _ in undisturbed] == list(range(EPOCHS * IMAGES // BATCH))
    for place in range(EPOCHS):
        images = [image for _, index in undisturbed[3 * place :][:3] for image in index]
        assert sorted(images) == list(range(IMAGES))

    seen.clear()
    step = TrainingStep.__call__

    def signalled(self, number, views):
        assert all(view.is_contiguous(memory_format=torch.channels_last) for view in views)
        terms = step(self, number, views)
        if number == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return terms

    with monkeypatch.context() as patch:
        patch.setattr(TrainingStep, "__call__", signalled)
        stopped = train(*OVERRIDES, *NARROW, "run.name=stopped", small=False)
    assert stopped.returncode == 128 + signal.SIGTERM, stopped.stderr
    assert [place for place, _ in seen] == [0, 1, 2, 3, 4]
    resumed = train(*OVERRIDES, *NARROW, "run.name=stopped", small=False)
    assert resumed.returncode == 0, resumed.stderr
    assert "resumes after epoch 1, step 2" in resumed.stdout
    assert seen == undisturbed
    first, second = (final_state(tmp_path / "runs" / name) for name in ("straight", "stopped"))
    assert_same(first["module"], second["module"])
    assert_same(first["optimizer"], second["optimizer"])


@pytest.mark.slow
def test_resnet_50_killed_in_the_middle_of_an_epoch_ends_with_the_weights_of_an_undisturbed_run(tmp_path):
    write_tree(tmp_path)
    finish(tmp_path, *OVERRIDES, *LARGE, "run.name=straight")
    code, _ = signal_once_under_way(tmp_path, signal.SIGKILL, *OVERRIDES, *LARGE, "run.name=killed", delay=4.0)
    assert code == -signal.SIGKILL
    said = finish(tmp_path, *OVERRIDES, *LARGE, "run.name=killed")
    assert "resumes after epoch" in said
    straight, killed = (final_state(tmp_path / "runs" / name) for name in ("straight", "killed"))
    assert sum(parameter.numel() for name, parameter in straight["module"].items() if "encoder" in name) > 23e6
    compare(straight, killed)
