"""Runs of the baselines from the outside: trained, resumed, loaded, evaluated and compared as runs of VJE are."""

from __future__ import annotations

import csv
import json
import sys

import pytest
import torch

import vje_ppl
from tests.compare.test_command import read_csv
from tests.helpers.baselines import METHODS, NARROW
from tests.helpers.commands import SMALL, command, evaluate, one_sentence, report
from tests.helpers.states import assert_same, final_state
from vje_ppl.compare.__main__ import main as compare_main
from vje_ppl.crosscheck.__main__ import main as crosscheck_main
from vje_ppl.errors import UserError
from vje_ppl.runs.folder import read_config
from vje_ppl.settings.groups import PROGRAM
from vje_ppl.train.__main__ import main as train_main

#: A run of a second; saved in the middle of its last epoch, and at its end.
RUN = (
    *(override for override in SMALL if not override.startswith("guide.")),
    "knn.every=1",
    "trainer.checkpoint_every=3",
)

#: What a density of views adds to the anomaly scores, for the methods that are evaluated.
DENSITY_SCORES = {"byol": set(), "vi_simsiam": {"surprise", "uncertainty"}, "lejepa": {"surprise"}}

all_methods = pytest.mark.parametrize("method", METHODS)


def train(root, method, *overrides):
    return command(train_main, "vje_ppl.train", *RUN, f"run.root={root}", f"method={method}", *overrides)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of each method, and one of VJE."""
    root = tmp_path_factory.mktemp("runs")
    for method in ("vje", *METHODS):
        result = train(root, method, f"run.name={method}", *NARROW.get(method, ()))
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
        assert f"{method}: metrics.csv" in result.stdout
    return root


@all_methods
def test_a_run_leaves_what_one_of_vje_leaves(runs, method):
    ours, theirs = ({path.name for path in (runs / name).iterdir()} for name in (method, "vje"))
    assert ours == theirs
    assert (runs / method / "curves.png").stat().st_size > 10_000
    rows = list(csv.DictReader((runs / method / "metrics.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    expected = {
        *("loss", "embedding_norm", "feature_std", "spread", "view_cosine", "lr", "images_per_s", "wait_share"),
        *("knn/z", "knn/k", "knn/temperature", "knn/pixels", "knn/untrained_z"),
    }
    assert all(rows[-1][column] for column in expected)
    assert not {"elbo", "kl", "knn/mu", "knn/untrained_mu", "posterior_scale"} & set(rows[-1])
    metrics = json.loads((runs / method / "metrics.json").read_text())
    assert (metrics["method"], metrics["epoch"]) == (method, 2)
    config = read_config(runs / method / "config.yaml")
    assert not set(PROGRAM) & set(config)


@pytest.mark.parametrize(("method", "count"), [("vicreg", 3), ("lejepa", 2), ("visreg", 4)])
def test_terms_of_a_loss_add_up_to_it(runs, method, count):
    row = list(csv.DictReader((runs / method / "metrics.csv").read_text().splitlines()))[-1]
    terms = [float(value) for key, value in row.items() if key.startswith("term/")]
    assert len(terms) == count
    assert float(row["loss"]) == pytest.approx(sum(terms), rel=1e-5)


def test_data_augmentation_and_encoder_are_the_same_for_all(runs):
    states = {method: final_state(runs / method) for method in METHODS}
    first = final_state(runs / "vje")
    for method, state in states.items():
        for group in ("data", "augment", "encoder", "optimizer", "trainer"):
            assert state["config"][group] == first["config"][group], method
        assert state["history"][0]["knn/z"] == first["history"][0]["knn/z"], method  # one encoder to start from


@all_methods
def test_a_run_stopped_between_two_steps_goes_on_bit_for_bit(runs, method):
    before = runs / method / "checkpoints" / "previous.pt"
    result = train(runs, method, f"run.name={method}-resumed", f"resume={before}", *NARROW[method])
    assert result.returncode == 0, result.stderr
    assert "resumes after epoch 1, step 2" in result.stdout
    straight, resumed = (final_state(runs / name) for name in (method, f"{method}-resumed"))
    assert_same(straight["module"], resumed["module"])
    assert_same(straight["optimizer"], resumed["optimizer"])
    assert any(key.startswith("target_") for key in straight["module"]) == (method == "byol")
    timeless = [key for key in straight["history"][-1] if key not in ("seconds", "images_per_s", "wait_share")]
    assert [straight["history"][-1][key] for key in timeless] == [resumed["history"][-1][key] for key in timeless]


def test_the_target_network_moves_after_the_optimizer(runs):
    """With τ = 0 at the first step, which is the only one here, the target ends where the optimizer took the rest."""
    one_step = ("trainer.epochs=1", "batch_size=256", "method.momentum=0", "run.name=one-step", *NARROW["byol"])
    assert train(runs, "byol", *one_step).returncode == 0
    weights = final_state(runs / "one-step")["module"]
    targets = [name for name in weights if name.startswith("target_") and name.endswith(("weight", "bias"))]
    assert len(targets) > 8
    for name in targets:
        assert torch.equal(weights[name], weights[name.removeprefix("target_")]), name


@all_methods
def test_a_loaded_run_embeds_and_has_no_posterior(runs, method):
    run = vje_ppl.load(runs / method)
    images = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    z, mean, scale = run.embed(images, batch_size=2)
    assert z.shape == (5, 8)
    assert z.dtype == torch.float32
    assert mean is scale is None
    torch.testing.assert_close(z, run.module.embed(run.preprocess(images)).detach())
    with pytest.raises(UserError, match=rf"^The run's method, {method}, is not a probabilistic program; give"):
        run.program  # noqa: B018


@pytest.fixture(scope="module")
def evaluated(runs):
    """Three of the methods, evaluated in every way: without a density, with one, and with one of a single width."""
    said = {}
    for method in DENSITY_SCORES:
        result = evaluate(f"run={runs / method}", "eval=[knn,linear,one_class,ood]", "knn.k=30")
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
        said[method] = result.stdout
    return said


@pytest.mark.parametrize("method", DENSITY_SCORES)
def test_a_run_is_evaluated_as_one_of_vje_is(runs, evaluated, method):
    assert f"method {method}" in evaluated[method]
    found = report(runs / method)
    assert found["method"] == method
    for kind in ("knn", "linear"):
        rows = [(row["encoder"], row["features"]) for row in found[kind]["rows"]]
        assert rows == [("trained", "z"), ("untrained", "z"), ("none", "pixels")]
    scores = {"knn_distance", "nearest_cosine", "mahalanobis", "ssd", "csi"}
    scores |= DENSITY_SCORES[method]
    for kind in ("one_class", "ood"):
        assert not any("not reported" in note for note in found[kind]["notes"])
        rows = [row for row in found[kind]["rows"] if row["encoder"] == "trained"]
        assert {row["score"] for row in rows} == scores
        assert not any(row["headline"] for row in rows)
    asked = evaluate(f"run={runs / method}", "eval=uncertainty")
    if method == "vi_simsiam":
        assert asked.returncode == 0, asked.stderr
        (row,) = report(runs / method)["uncertainty"]["rows"]
        assert (row["features"], row["uncertainty"]) == ("z", "−log κ")
    else:
        assert f"such as vje or vi_simsiam, and the run's is {method}." in one_sentence(asked)
    nested = read_config(runs / method / "one_class" / "3" / "config.yaml")
    assert nested["method"] == read_config(runs / method / "config.yaml")["method"]
    assert nested["data"]["only_class"] == "3"


def test_methods_stand_side_by_side(runs, evaluated, tmp_path):
    result = command(compare_main, "vje_ppl.compare", f"runs=[{','.join(str(runs / m) for m in ('vje', *METHODS))}]")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    rows = {row["run"]: row for row in read_csv(runs / "comparison")}
    assert set(rows) == {"vje", *METHODS}
    for method, row in rows.items():
        metrics = json.loads((runs / method / "metrics.json").read_text())
        assert row["method"] == method
        assert float(row["k-NN z"]) == metrics["knn/z"]
        assert bool(row["k-NN μ"]) == bool(row["KL"]) == (method == "vje")
    options = {"projector", "weight"}  # which several methods have, with other values
    known = {"run", "method", *options, "k-NN z", "k-NN μ", "RankMe", "LiDAR", "KL", "seconds", "folders"}
    assert set(rows["vje"]) == known
    assert "ELBO [" not in result.stdout


def test_baselines_alone_have_no_columns_of_a_posterior(runs):
    chosen = ",".join(str(runs / method) for method in ("byol", "simsiam"))
    result = command(compare_main, "vje_ppl.compare", f"runs=[{chosen}]", "out=" + str(runs / "two"))
    assert result.returncode == 0, result.stderr
    (first, _) = read_csv(runs / "two")
    assert set(first) == {"run", "method", "projector", "k-NN z", "RankMe", "LiDAR", "seconds", "folders"}
    assert "nats" not in result.stdout


def test_crosscheck_of_a_baseline_is_one_sentence(runs):
    result = command(crosscheck_main, "vje_ppl.crosscheck", f"run={runs / 'vicreg'}")
    assert "The run's method, vicreg, is not a probabilistic program; give a run with method=vje." in one_sentence(
        result
    )


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("method=byoll",), "did you mean byol?"),
        (("objective.beta=1",), "objective is a part of method=vje, but the chosen method has no such part"),
        (("likelihood/radius=none",), "likelihood is a part of method=vje, but the chosen method has no such part"),
        (
            ("likelihood=polar_normal",),
            "likelihood is a part of method=vje, but method=vicreg has no such part; leave out likelihood=...",
        ),
        (("experiment/ablation=no_radius",), "likelihood is a part of method=vje, but method=vicreg has no such part"),
        (
            ("experiment/ablation=beta_1",),
            "likelihood is a part of method=vje, but method=vicreg has no such part; leave out likelihood=..., or the",
        ),
        (("method.projecter=[8]",), "did you mean projector?"),
        (("batch_size=1", "norm=group"), "VICReg compares images of a batch, so batch_size expects at least 2, got 1."),
        (("batch_size=1",), "batch_size=1 has no batch statistics"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistake_gets_one_sentence(tmp_path, overrides, said):
    assert said in one_sentence(train(tmp_path, "vicreg", *overrides))


OWN = """
from typing import NamedTuple

import torch
from vje_ppl.methods.method import Method


class Terms(NamedTuple):
    loss: torch.Tensor
    embeddings: torch.Tensor

    def scalars(self):
        return {"double": 2 * self.loss.detach()}

    def checked(self):
        return {"the loss": self.loss}


class Mean(Method):
    def __init__(self, encoder, weight):
        super().__init__()
        self.encoder, self.weight = encoder, weight

    @property
    def dim(self):
        return self.encoder.dim

    def embed(self, view):
        return self.encoder(view)

    def forward(self, *views):
        z = torch.stack([self.embed(view) for view in views])
        return Terms(self.weight * z.var(0).mean(), z.detach())
"""


def test_a_method_of_ones_own_from_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "my_method.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    result = train(tmp_path, "custom", "method._target_=my_method.Mean", "+method.weight=3", "run.name=own")
    assert result.returncode == 0, result.stderr
    row = list(csv.DictReader((tmp_path / "own" / "metrics.csv").read_text().splitlines()))[-1]
    assert float(row["double"]) == pytest.approx(2 * float(row["loss"]), rel=1e-6)
    with pytest.raises(UserError, match="trust_targets=True"):
        vje_ppl.load(tmp_path / "own")
    run = vje_ppl.load(tmp_path / "own", trust_targets=True)
    assert run.embed(torch.zeros(2, 1, 8, 8)).z.shape == (2, 8)
    sys.modules.pop("my_method")


def test_default_name_says_which_method(tmp_path):
    assert train(tmp_path, "simsiam", "trainer.epochs=0", *NARROW["simsiam"]).returncode == 0
    assert train(tmp_path, "vje", "trainer.epochs=0", "experiment/ablation=beta_1").returncode == 0
    names = sorted(path.name.rpartition("-")[0] for path in tmp_path.iterdir())
    assert names == ["digits-beta_1", "digits-simsiam"]
