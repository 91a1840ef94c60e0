"""A run from the outside: what it prints, what it leaves, and how it goes on."""

from __future__ import annotations

import csv
import json
from functools import partial
from itertools import count

import pytest
import torch

import vje_ppl
from tests.helpers.commands import one_sentence
from tests.helpers.states import assert_same, final_state
from vje_ppl.parallel import devices
from vje_ppl.runs import checkpoint
from vje_ppl.runs.checkpoint import PATIENCE, CheckpointInterval
from vje_ppl.runs.folder import RunFolder
from vje_ppl.train import loop as training_loop
from vje_ppl.train import summary


def test_run_leaves_what_it_names(train, tmp_path):
    result = train("knn.every=1", "run.name=a")
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    folder = tmp_path / "runs" / "a"
    assert {path.name for path in folder.iterdir()} >= {
        "config.yaml",
        "checkpoints",
        "metrics.csv",
        "metrics.json",
        "curves.png",
    }
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    expected = {
        *("loss", "objective", "elbo", "kl", "log_likelihood/direction", "log_likelihood/radius", "posterior_scale"),
        *("embedding_norm", "feature_std", "spread", "cosine", "share_at_bound", "lr", "images_per_s", "wait_share"),
        *("knn/z", "knn/mu", "knn/k", "knn/temperature", "knn/pixels", "knn/untrained_z"),
    }
    assert expected <= set(rows[-1])
    assert all(rows[-1][column] for column in expected)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["knn/z"] == float(rows[-1]["knn/z"])
    assert list(tmp_path.iterdir()) == [tmp_path / "runs"]  # nothing else is left lying about


def test_short_epochs_share_a_checkpoint_and_the_last_is_saved(train, tmp_path, monkeypatch):
    # On a clock that moves by one whenever it is read, writing takes 1 and every epoch after it another.
    monkeypatch.setattr(training_loop, "CheckpointInterval", partial(CheckpointInterval, count().__next__))
    assert train("trainer.epochs=30", "data.subset=64", "run.name=a").returncode == 0
    folder = tmp_path / "runs" / "a"
    assert final_state(folder)["epoch"] == 30
    assert checkpoint.load(folder / "checkpoints" / checkpoint.PREVIOUS)["epoch"] == PATIENCE
    assert len((folder / "metrics.csv").read_text().splitlines()) == 1 + 31  # the log does not wait for a checkpoint


def test_terms_in_the_log_recombine(train, tmp_path):
    train("run.name=a")
    row = list(csv.DictReader((tmp_path / "runs" / "a" / "metrics.csv").read_text().splitlines()))[-1]
    values = {key: float(value) for key, value in row.items() if value}
    likelihood = values["log_likelihood/direction"] + values["log_likelihood/radius"]
    scale = sum(abs(values[key]) for key in ("log_likelihood/direction", "log_likelihood/radius", "kl"))
    tolerance = 1e-5 * scale  # means of float32 terms
    assert values["elbo"] == pytest.approx(likelihood - values["kl"], abs=tolerance)
    assert values["objective"] == pytest.approx(likelihood - 0.1 * values["kl"], abs=tolerance)
    assert values["loss"] == pytest.approx(-values["objective"] / 8, abs=tolerance)


def test_learned_degrees_of_freedom_are_logged(train, tmp_path):
    result = train("run.name=a", "likelihood.learn_df=true", "likelihood.df=3")
    assert result.returncode == 0, result.stderr
    rows = list(csv.DictReader((tmp_path / "runs" / "a" / "metrics.csv").read_text().splitlines()))
    for column in ("likelihood.df", "likelihood.radius.df"):
        before, *between, after = (float(row[column]) for row in rows)
        assert before == pytest.approx(3.0, rel=1e-6)  # kept in float32
        assert len(between) == 1
        assert after != before
    assert "ν of likelihood.radius, learned" in result.stdout


def test_same_seed_same_weights_other_seed_other_weights(train, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert train(f"run.name={name}", f"seed={seed}").returncode == 0
    first, again, other = (final_state(tmp_path / "runs" / name) for name in "abc")
    assert_same(first["module"], again["module"])
    assert any(not torch.equal(first["module"][key], other["module"][key]) for key in first["module"])


def test_finished_run_is_not_trained_again(train, tmp_path):
    train("run.name=a")
    before = final_state(tmp_path / "runs" / "a")
    again = train("run.name=a")
    assert again.returncode == 0
    assert "already finished" in again.stdout
    assert_same(before["module"], final_state(tmp_path / "runs" / "a")["module"])


def test_default_names_of_different_configurations_never_meet(train, tmp_path):
    train("trainer.epochs=0")
    train("trainer.epochs=0", "objective.beta=1")
    train("trainer.epochs=0", "trainer.device=cpu")  # the same run, elsewhere
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert len(names) == 2
    assert all(name.startswith("digits-") for name in names)


def test_run_folder_in_use_is_refused(train, tmp_path):
    folder = RunFolder(tmp_path / "runs", "a")
    folder.lock()
    try:
        assert "in use" in one_sentence(train("run.name=a"))
    finally:
        folder.unlock()
    assert train("run.name=a").returncode == 0


def test_sweep_runs_every_cell(train, tmp_path):
    result = train("objective.beta=0.1,1", "trainer.epochs=1", "-m")
    assert result.returncode == 0, result.stderr
    finished = [final_state(folder) for folder in (tmp_path / "runs").iterdir() if folder.is_dir()]
    assert sorted(state["config"]["objective"]["beta"] for state in finished) == [0.1, 1]


@pytest.mark.parametrize("has", [True, False])
@pytest.mark.parametrize("precision", ["auto", "32", "bf16"])
def test_a_note_says_that_bf16_is_emulated(precision, has, train, monkeypatch):
    for module in (devices, summary):
        monkeypatch.setattr(module, "multiplies_bf16", lambda device: has)
    tiny = ("encoder=small_resnet", "encoder.width=2", "trainer.epochs=0", "data.subset=128", "batch_size=64")
    result = train(*tiny, f"trainer.precision={precision}", small=False)
    assert result.returncode == 0, result.stderr
    assert ("emulates bf16" in result.stdout) == (precision == "bf16" and not has)
    assert ("cpu, bf16" in result.stdout) == (precision == "bf16" or (precision == "auto" and has))


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(["likelihood=polar_student_t", "likelihood/direction=factorized"], id="factorized"),
        pytest.param(["likelihood/radius/scale=projected"], id="projected"),
        pytest.param(["likelihood/radius=none"], id="no radius"),
        pytest.param(["likelihood=cartesian_student_t", "likelihood.learn_df=true"], id="raw embedding, learned tails"),
        pytest.param(["model/scale=free"], id="free scale"),
        pytest.param(["model.scale.detach=true"], id="detached scale"),
        pytest.param(["objective.detach_target=false"], id="target with gradient"),
        pytest.param(["norm=group", "batch_size=1"], id="group normalization, one image a step"),
        pytest.param(["optimizer=sgd", "trainer.clip=1"], id="sgd and clipping"),
        pytest.param(["trainer.views=3", "objective.num_particles=2"], id="three views, two particles"),
        pytest.param(["encoder=small_resnet", "encoder.width=4", "trainer.precision=bf16"], id="bf16 ResNet"),
        pytest.param(["guide.whiten=4"], id="whitened embeddings"),
        pytest.param(["debug=true"], id="validation on"),
        pytest.param(["logger=tensorboard"], id="tensorboard"),
    ],
)
def test_one_override_away(train, overrides):
    small = [o for o in overrides if not o.startswith("encoder")]
    if len(small) < len(overrides):
        size = ["trainer.epochs=1", "data.subset=64", "batch_size=32", "knn.every=0"]
        result = train(*size, *overrides, small=False)
    else:
        result = train("trainer.epochs=1", "data.subset=128", *overrides)
    assert result.returncode == 0, result.stderr


def test_users_own_prior_and_likelihood_from_the_working_folder(train, tmp_path):
    (tmp_path / "mine.py").write_text(
        """
import pyro
import pyro.distributions as dist
from pyro.nn import PyroModule
import torch


class Prior(PyroModule):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self):
        return dist.Laplace(torch.zeros(self.dim), 1.0).to_event(1)


class Likelihood(PyroModule):
    def __init__(self, kappa):
        super().__init__()
        self.kappa = kappa

    def forward(self, latent, scale, target=None):
        pyro.sample("embedding", dist.Normal(latent, self.kappa * scale).to_event(1), obs=target)
"""
    )
    parts = ["prior=custom", "prior._target_=mine.Prior", "likelihood=custom", "likelihood._target_=mine.Likelihood"]
    result = train("run.name=a", *parts, "+likelihood.kappa=2")
    assert result.returncode == 0, result.stderr
    assert "log-likelihood of embedding" in result.stdout
    with pytest.raises(ValueError, match="trust_targets"):
        vje_ppl.load(tmp_path / "runs" / "a")


def test_loaded_run_embeds(train, tmp_path):
    assert train("run.name=a").returncode == 0
    run = vje_ppl.load(tmp_path / "runs" / "a")
    images = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    whole = run.embed(images)
    assert whole.mean.shape == whole.scale.shape == whole.z.shape == (5, 8)
    assert (whole.scale > 0).all()
    assert not whole.mean.requires_grad
    # In evaluation mode an image's embedding does not depend on the batch it comes in, up to rounding.
    torch.testing.assert_close(run.embed(images, batch_size=2).mean, whole.mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(run.embed(images / 255).mean, whole.mean)
    with pytest.raises(ValueError, match="0, 1"):
        run.embed(images.float())
    for kind in (torch.int16, torch.int32, torch.int64, torch.uint16):
        assert torch.equal(run.embed(images.to(kind)).z, whole.z)
    for wrong, told in (
        (images.to(torch.int32) * 257, r"torch.int32 from \d+ to \d+"),
        (images.to(torch.int16) - 128, r"torch.int16 from -\d+ to"),
        (images > 99, r"torch.bool from 0 to 1"),
    ):
        with pytest.raises(ValueError, match=rf"bytes in 0\.\.255, or floats in \[0, 1\], got {told}"):
            run.embed(wrong)
    with pytest.raises(ValueError, match=r"embed expects floats in \[0, 1\], .* got torch\.float32 from nan to nan"):
        run.embed(images / 255 * float("nan"))
    with pytest.raises(ValueError, match="run folder"):
        vje_ppl.load(tmp_path)
