"""Runs that start from other weights: a file's, or another run's."""

from __future__ import annotations

import shutil

import pytest
import torch
from omegaconf import OmegaConf

from tests.helpers.commands import one_sentence, train_in
from tests.helpers.states import assert_same, final_state
from vje_ppl.runs import checkpoint

QUICK = ("encoder.width=16", "encoder.dim=8")
FROZEN = ("encoder.freeze=true", "trainer.epochs=1")


def encoder_of(folder, place: str = "guide.encoder.") -> dict[str, torch.Tensor]:
    state = final_state(folder)["module"]
    return {name.removeprefix(place): tensor for name, tensor in state.items() if name.startswith(place)}


def guide_of(folder) -> dict[str, torch.Tensor]:
    state = final_state(folder)["module"]
    return {name: one for name, one in state.items() if name.startswith("guide.") and "encoder." not in name}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("first")
    train_in(root, "run.name=first")
    return root / "first"


@pytest.fixture
def first(trained, tmp_path):
    """A copy of the run, where `init=runs/first` finds it."""
    return shutil.copytree(trained, tmp_path / "runs" / "first")


def test_a_run_starts_from_a_file_and_resumes_without_it(first, train, tmp_path, monkeypatch):
    weights = tmp_path / "encoder.pth"
    torch.save({f"module.{name}": tensor for name, tensor in encoder_of(first).items()}, weights)
    start = ("encoder.weights=encoder.pth", "optimizer.encoder_lr=1e-4", "encoder.freeze=1", "trainer.epochs=4")
    save = checkpoint.save

    def save_and_keep(path, state):
        save(path, state)
        if state["epoch"] == 2:  # as if another run had been stopped here
            save(tmp_path / "runs/stopped/checkpoints/last.pt", state)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", save_and_keep)
        straight = train("run.name=straight", *start, "trainer.checkpoint_every=1")
    assert straight.returncode == 0, straight.stderr
    assert "weights encoder.weights=encoder.pth: 14 of 14 tensors of the encoder" in straight.stdout
    assert OmegaConf.load(tmp_path / "runs/straight/config.yaml").encoder.weights == "encoder.pth"

    weights.unlink()
    resumed = train("run.name=stopped", *start)
    assert resumed.returncode == 0, resumed.stderr
    assert "resumes after epoch 2" in resumed.stdout
    states = [final_state(tmp_path / "runs" / name) for name in ("straight", "stopped")]
    assert_same(*(state["module"] for state in states))
    assert_same(*(state["optimizer"] for state in states))


@pytest.mark.parametrize("source", ["run", "export", "renamed export"])
def test_a_run_starts_from_the_encoder_of_another(source, first, train, tmp_path):
    place = first
    if source != "run":
        from vje_ppl.runs.saved_model import write_model

        state = final_state(first)
        place = tmp_path / "export"
        place.mkdir()
        facts = {key: state[key] for key in ("config", "data", "epoch")}
        write_model(place / "model.safetensors", state["module"], facts)
    if source == "renamed export":
        place = (place / "model.safetensors").rename(tmp_path / "mine.safetensors")
    result = train("run.name=second", f"init={place}", *FROZEN)
    assert result.returncode == 0, result.stderr
    assert_same(encoder_of(tmp_path / "runs/second"), encoder_of(first))


def test_a_guide_goes_on_with_its_encoder(first, train, tmp_path):
    result = train(
        "run.name=second", f"init={first}", "init_parts=[encoder,guide]", "trainer.epochs=0", "data.subset=128"
    )
    assert result.returncode == 0, result.stderr
    assert "tensors of the guide" in result.stdout
    assert_same(guide_of(tmp_path / "runs/second"), guide_of(first))
    assert_same(encoder_of(tmp_path / "runs/second"), encoder_of(first))


def test_a_baselines_target_network_starts_from_the_same_encoder(first, train, tmp_path):
    overrides = ("method=byol", "method.projector=[8,8]", "method.predictor=8", "trainer.epochs=0")
    small = ("data.subset=256", "batch_size=64", *QUICK, "knn.every=0")
    result = train("run.name=byol", f"init={first}", *overrides, *small, small=False)
    assert result.returncode == 0, result.stderr
    for place in ("encoder.", "target_encoder."):
        assert_same(encoder_of(tmp_path / "runs/byol", place), encoder_of(first))


REFUSED = {
    "two sources": (("init=runs/first", "encoder.weights=w.pth"), "both give the encoder's weights"),
    "no run": (("init=runs/nowhere",), "init expects a run folder or an export, but there is no runs/nowhere"),
    "no guide of that kind": (
        ("init=runs/first", "init_parts=[guide]", "guide=low_rank_normal"),
        "init=runs/first has another guide: network",
    ),
    "no such part": (
        ("init=runs/first", "init_parts=[head]"),
        "init_parts expects a list of encoder and guide or null",
    ),
    "parts of nothing": (("init_parts=[guide]",), "init_parts=['guide'] has no effect without init"),
    "rate of a frozen encoder": (
        ("encoder.freeze=true", "optimizer.encoder_lr=1e-4"),
        "optimizer.encoder_lr has no effect on a frozen encoder",
    ),
    "a checkpoint": (
        ("init=runs/first/checkpoints/last.pt",),
        "got the file runs/first/checkpoints/last.pt; give its folder, or encoder.weights=",
    ),
    "a folder of weights": (("encoder.weights=runs",), "got the folder runs; give its file, or init=runs"),
    "another encoder": (("init=runs/first", "encoder.dim=9"), "init=runs/first does not fit the encoder: layers."),
}


@pytest.mark.parametrize(("overrides", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_start_that_does_not_fit_is_refused(overrides, sentence, first, train):
    assert sentence in one_sentence(train("run.name=second", *overrides))


def test_a_guide_needs_vje_in_both_runs(first, train):
    small = ("data.subset=256", "batch_size=64", *QUICK, "knn.every=0", "method=simsiam", "method.projector=[8,8]")
    result = train(f"init={first}", "init_parts=[guide]", *small, small=False)
    assert "needs method=vje in both runs, but this run has no guide" in one_sentence(result)


def test_frozen_random_weights_and_another_normalization_are_noted(first, train, tmp_path):
    assert "random weights stay as they are" in train("run.name=random", "encoder.freeze=true").stdout
    result = train("run.name=other", f"init={first}", "augment.mean=[0.5]")
    assert result.returncode == 0, result.stderr
    assert "was trained with another normalization of images; give augment.mean=[" in result.stdout
    assert "normalization" not in train("run.name=same", f"init={first}").stdout
