"""`vje_ppl.fit`: what it accepts, what it leaves, and that it does what the command does."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from PIL import Image
from sklearn.datasets import load_digits
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset

import vje_ppl
from tests.helpers.commands import SMALL, evaluate, report
from tests.helpers.states import assert_same, final_state
from vje_ppl.data.loaders.arrays import arrays
from vje_ppl.errors import UserError
from vje_ppl.runs import checkpoint
from vje_ppl.train.given_dataset import images_of
from vje_ppl.train.given_images import as_arrays, store

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
    "reversed": lambda: (np.random.default_rng(0).random((40, 3, 8, 8))[:, ::-1], 8),
    "rounded": lambda: (np.linspace(-1e-16, 1 + 2e-16, 40 * 81).reshape(40, 9, 9), 9),
    "list of tensors": lambda: ([torch.rand(3, 8, 8) for _ in range(40)], 8),
    "list of pictures": lambda: ([Pictures()[number][0] for number in range(40)], 10),
    "parts": lambda: (ConcatDataset([Subset(Pictures(), range(10)), Subset(Pictures(), range(30))]), 10),
    "tensors alone": lambda: (TensorDataset(torch.rand(40, 1, 8, 8)), 8),
}


@pytest.mark.parametrize("make", FORMS.values(), ids=FORMS)
def test_each_form_of_images_is_accepted(make):
    images, side = make()
    run = vje_ppl.fit(images, "encoder.width=2", "batch_size=8", "guide.network.width=1", epochs=1)
    assert (run.epoch, run.preprocess.size) == (1, side)


LABELS = {
    "numbers": ([0, 7, -1, 7], [0, 1, -1, 1], ("0", "7")),
    "a column with gaps": ([0.0, 7.0, float("nan"), -1.0], [0, 1, -1, -1], ("0", "7")),
    "texts": (["b", "a", "", "b"], [1, 0, -1, 1], ("a", "b")),
    "objects": (np.array(["b", None, "a", np.str_("b")], object), [1, -1, 0, 1], ("a", "b")),
    "a tensor": (torch.tensor([3, 3, -1, 5]), [0, 0, -1, 1], ("3", "5")),
    "bools": ([True, False, True, True], [1, 0, 1, 1], ("False", "True")),
}


@pytest.mark.parametrize(("given", "indices", "classes"), LABELS.values(), ids=LABELS)
def test_each_form_of_labels_means_the_same(given, indices, classes, tmp_path):
    images = np.arange(4 * 64, dtype=np.uint8).reshape(4, 1, 8, 8)
    name = store(as_arrays(images, given, images, given), tmp_path)
    data = arrays(str(tmp_path / "arrays"), name)
    assert data.train.labels.tolist() == indices
    assert data.train.classes == data.test.classes == classes
    assert data.test.labels.tolist() == [one for one in indices if one >= 0]


def test_a_data_set_may_have_labels_for_some_images():
    pixels, labels = images_of(
        Few([(torch.zeros(1, 8, 8), one) for one in (1, None, torch.tensor(2), np.int64(1))]), None
    )
    assert (tuple(pixels.shape), labels) == ((4, 1, 8, 8), [1, None, 2, 1])


def test_labels_of_train_and_test_may_be_of_two_types(tmp_path):
    images = np.zeros((2, 1, 8, 8), np.uint8)
    name = store(as_arrays(images, [1, -1], images, ["2", "1"]), tmp_path)
    data = arrays(str(tmp_path / "arrays"), name)
    assert (data.test.labels.tolist(), data.test.classes) == ([1, 0], ("1", "2"))


def test_test_images_without_a_label_are_left_out(tmp_path, caplog):
    images = np.arange(5 * 64, dtype=np.uint8).reshape(5, 1, 8, 8)
    name = store(as_arrays(images, [0, 1, 0, 1, None], images, [1, None, 0, None, 1]), tmp_path)
    data = arrays(str(tmp_path / "arrays"), name)
    assert data.test.labels.tolist() == [1, 0, 1]
    assert (data.test.images.numpy() == images[[0, 2, 4]]).all()
    assert (len(data.train), len(data.bank)) == (5, 4)
    assert "2 of the 5 test images of arrays have no label" in caplog.text
    name = store(as_arrays(images, [0, 1, 0, 1, None], images, [-1] * 5), tmp_path)
    data = arrays(str(tmp_path / "arrays"), name)
    assert (len(data.test), data.test.labels) == (5, None)


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
    "device": (lambda: vje_ppl.fit("data=digits", device="gpu"), "device expects cpu, or cuda or mps"),
    "images for vectors": (
        lambda: vje_ppl.fit(features=np.random.default_rng(0).random((40, 2, 4)), augment="digits"),
        "augment makes views of images, but these data are feature vectors",
    ),
    "vectors for images": (
        lambda: vje_ppl.fit("data=digits", "augment=features"),
        "augment=features picks feature vectors, but these data are images",
    ),
    "devices": (
        lambda: vje_ppl.fit("data=digits", **{"trainer.devices": 2}),
        "fit trains in one process, got trainer.devices=2; give 1, start the program with torchrun",
    ),
    "value": (lambda: vje_ppl.fit(epochs=-1), "trainer.epochs expects a whole number of at least 0, got -1"),
    "setting": (lambda: vje_ppl.fit(seed=object()), "fit expects settings as numbers, texts"),
    "empty": (lambda: vje_ppl.fit(GREY[:0]), "fit expects at least one image, got none"),
    "list of labels": (lambda: vje_ppl.fit(GREY, labels=[[1]] * 8), r"got labels of shape \(8, 1\)"),
    "fractions": (
        lambda: vje_ppl.fit(GREY, labels=[0.5] * 8),
        "-1 for none, or texts, got labels of a value 0.5",
    ),
    "stream": (lambda: vje_ppl.fit(Stream()), "a torch data set with a length, got Stream"),
    "dicts": (lambda: vje_ppl.fit(Few([{"image": GREY[0]}])), "got dict in place of an image"),
    "views": (
        lambda: vje_ppl.fit(Few([([GREY[0], GREY[0]], 1)])),
        "got list in place of an image; give each image once",
    ),
    "pairs": (lambda: vje_ppl.fit(Few([(GREY[0], GREY[0])])), r"one label per image, got one of shape \(1, 8, 8\)"),
    "random": (lambda: vje_ppl.fit(Random()), "the same image each time"),
    "16 bits": (lambda: vje_ppl.fit(Few([WIDE])), "to have 8 bits, got one of mode I;16; convert it to floats"),
    "no items": (lambda: vje_ppl.fit(Few([])), "at least one image, got a data set of none"),
    "sizes": (lambda: vje_ppl.fit(TwoSizes()), "fit expects images of one size, got 2 sizes"),
    "no file": (lambda: vje_ppl.fit("data=arrays"), r"data=arrays needs a file; give data.file=<name>.npz"),
    "another file": (lambda: vje_ppl.fit("data=arrays", "data.file=a.npz"), "a.npz does not exist; give data.root"),
}


WIDE = Image.fromarray(np.full((8, 8), 1000, np.uint16))


class Few(Dataset):
    """Given items."""

    def __init__(self, items: list) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> object:
        return self.items[index]


class Stream(IterableDataset):
    """Images without numbers."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter([GREY[0]])


class Random(Few):
    """Images under a random transform."""

    def __init__(self) -> None:
        super().__init__([None] * 3)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.rand(1, 8, 8)


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
