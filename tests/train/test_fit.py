"""`vje_ppl.fit`: what it accepts, what it leaves, and that it does what the command does."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from PIL import Image
from sklearn.datasets import load_digits
from torch.utils.data import Dataset, TensorDataset

import vje_ppl
from tests.helpers.commands import SMALL, evaluate, report
from tests.helpers.states import assert_same, final_state
from vje_ppl.errors import UserError
from vje_ppl.runs import checkpoint

QUICK = ("encoder=mlp", "augment=digits", "encoder.width=16", "encoder.dim=8", "guide.network.depth=1", "batch_size=32")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def digits() -> tuple[torch.Tensor, np.ndarray]:
    """Two hundred digits as floats in [0, 1], and their labels."""
    bunch = load_digits()
    return torch.tensor(bunch.images[:200, None] / 16, dtype=torch.float32), bunch.target[:200]


def test_overrides_train_the_run_of_the_command(train, tmp_path):
    run = vje_ppl.fit(*SMALL[1:], "run.name=here", epochs=2)
    assert train("run.name=there").returncode == 0
    here, there = (final_state(tmp_path / "runs" / name) for name in ("here", "there"))
    assert_same(here["module"], there["module"])
    assert {path.name for path in run.path.iterdir()} == {path.name for path in (tmp_path / "runs/there").iterdir()}


def test_a_tensor_becomes_a_run_that_embeds_scores_and_is_evaluated(digits, capsys):
    images, labels = digits
    run = vje_ppl.fit(images, *QUICK, labels=labels, epochs=2, calibration=0.1)
    assert capsys.readouterr().err.count("step") > 0  # a progress bar
    assert run.epoch == 2
    assert run.embed(images[:5]).z.shape == (5, 8)
    assert len(run.score(images[:5]).p_value) == 5
    assert run.config.data.test_fraction == 0.1
    assert run.path.name.startswith("arrays-")
    result = evaluate(f"run={run.path}", "eval=[knn]", "device=cpu")
    assert result.returncode == 0, result.stderr
    assert report(run.path)["knn"]["rows"]


def test_the_same_call_resumes_and_a_finished_run_is_not_trained_again(digits, tmp_path, monkeypatch, capsys):
    images, labels = digits
    call = {"labels": labels, "epochs": 4, "seed": 3}
    save = checkpoint.save

    def save_and_stop(path, state):
        save(path, state)
        if state["epoch"] == 2:
            raise RuntimeError("killed")

    straight = vje_ppl.fit(images, *QUICK, "guide.whiten=8", "run.name=straight", **call)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", save_and_stop)
        with pytest.raises(RuntimeError, match="killed"):
            vje_ppl.fit(images, *QUICK, "guide.whiten=8", "run.name=killed", "trainer.checkpoint_every=1", **call)
    capsys.readouterr()
    resumed = vje_ppl.fit(images, *QUICK, "guide.whiten=8", "run.name=killed", "trainer.checkpoint_every=1", **call)
    assert "resumes after epoch 2" in capsys.readouterr().out
    assert_same(straight.module.state_dict(), resumed.module.state_dict())
    vje_ppl.fit(images, *QUICK, "guide.whiten=8", "run.name=killed", "trainer.checkpoint_every=1", **call)
    assert "already finished" in capsys.readouterr().out
    assert len(list((tmp_path / "runs/arrays").iterdir())) == 1  # the same images are stored once


def test_other_images_are_another_run(digits):
    images, _ = digits
    first = vje_ppl.fit(images, *QUICK, epochs=0)
    assert vje_ppl.fit(1 - images, *QUICK, epochs=0).path != first.path
    assert vje_ppl.fit(images.clone(), *QUICK, epochs=0).path == first.path


class Pictures(Dataset):
    """Pillow's images with labels as words."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> tuple[Image.Image, str]:
        pixels = np.random.default_rng(index).integers(0, 256, (12, 10, 3), dtype=np.uint8)
        return Image.fromarray(pixels), "odd" if index % 2 else "even"


FORMS = {
    "bytes": lambda: (np.random.default_rng(0).integers(0, 256, (40, 3, 12, 12), dtype=np.uint8), 12),
    "no channels": lambda: (np.random.default_rng(0).random((40, 9, 9)), 9),
    "pictures": lambda: (Pictures(), 10),
    "tensors": lambda: (TensorDataset(torch.rand(40, 3, 8, 8), torch.arange(40) % 2), 8),
    "tensors alone": lambda: (TensorDataset(torch.rand(40, 1, 8, 8)), 8),
}


@pytest.mark.parametrize("make", FORMS.values(), ids=FORMS)
def test_each_form_of_images_is_accepted(make):
    images, side = make()
    run = vje_ppl.fit(images, "encoder.width=2", "batch_size=8", "guide.network.width=1", epochs=1)
    assert (run.epoch, run.preprocess.size) == (1, side)


def test_test_images_are_those_given(digits, capsys):
    images, labels = digits
    vje_ppl.fit(images[:150], *QUICK, labels=labels[:150], test_images=images[150:], test_labels=labels[150:], epochs=1)
    assert "150 training images, in memory; 50 test images" in capsys.readouterr().out


def test_global_random_states_and_hydra_are_as_before(digits):
    torch.manual_seed(5)
    before = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate(), HydraConfig.instance().cfg)
    vje_ppl.fit(digits[0], *QUICK, epochs=1)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert random.getstate() == before[2]
    assert HydraConfig.instance().cfg is before[3]


GREY = torch.zeros(8, 1, 8, 8)
REFUSED = {
    "range": (lambda: vje_ppl.fit(GREY + 2), r"fit expects floats in \[0, 1\], or bytes in 0..255"),
    "shape": (lambda: vje_ppl.fit(torch.zeros(8)), r"shape \(N, C, H, W\) or \(N, H, W\), got \(8,\)"),
    "channels last": (lambda: vje_ppl.fit(torch.zeros(8, 8, 8, 3)), "fit expects images of 1 or 3 channels"),
    "labels": (lambda: vje_ppl.fit(GREY, labels=[1, 2]), r"one label per image, \(8,\), got labels of shape \(2,\)"),
    "labels alone": (lambda: vje_ppl.fit("data=digits", test_labels=[1]), "test_labels without test_images"),
    "both": (lambda: vje_ppl.fit(GREY, "data=digits"), "fit got images and data=digits; leave out one"),
    "key": (lambda: vje_ppl.fit("optimizer.lrr=1"), "there is no such key; did you mean lr?"),
    "option": (lambda: vje_ppl.fit(prior="vamped"), "did you mean vamp?"),
    "several values": (lambda: vje_ppl.fit("seed=1,2"), "gives several values"),
    "value": (lambda: vje_ppl.fit(epochs=-1), "trainer.epochs expects a whole number of at least 0, got -1"),
    "setting": (lambda: vje_ppl.fit(seed=object()), "fit expects settings as numbers, texts"),
    "sizes": (lambda: vje_ppl.fit(TwoSizes()), "fit expects images of one size, got 2 sizes"),
    "no file": (lambda: vje_ppl.fit("data=arrays"), r"data=arrays needs a file; give data.file=<name>.npz"),
    "another file": (lambda: vje_ppl.fit("data=arrays", "data.file=a.npz"), "a.npz does not exist; give data.root"),
}


class TwoSizes(Dataset):
    """Images of two sizes."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.zeros(1, 8 + index, 8)


@pytest.mark.parametrize(("call", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_mistake_is_one_sentence(call, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence.replace("?", r"\?")):
        call()
    assert not list(tmp_path.glob("runs/*/config.yaml"))
