"""`python -m vje_ppl.diagnose` as a user runs it: what it prints, leaves, notices, and refuses."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import vje_ppl
from tests.helpers.commands import command, one_sentence, train_in
from vje_ppl.diagnose.__main__ import main

#: Everything that takes time, made small.
QUICK = (
    *("images.count=6", "targets=2", "samples=30", "nuts.warmup=50", "nuts.draws=50", "nuts.thin=1", "nuts.chains=2"),
    *("uncertainty.images=60", "predictive.images=60", "predictive.samples=40", "datatree.samples=30"),
)


def diagnose(*overrides):
    return command(main, "vje_ppl.diagnose", *QUICK, *overrides)


def verdicts(folder):
    sections = json.loads((folder / "diagnosis.json").read_text(encoding="utf-8"))["sections"]
    return {one["name"]: one for section in sections.values() for one in section["verdicts"]}


@pytest.fixture(scope="module")
def run(trained_digits):
    """A small run, diagnosed in every way."""
    result = diagnose(f"run={trained_digits}")
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    return trained_digits, result.stdout


def test_it_leaves_a_page_numbers_pictures_and_a_tree(run):
    folder, said = run
    for name in ("diagnosis.html", "diagnosis.json", "diagnosis.nc"):
        assert name in said.splitlines()[-1]
    for name in ("gap.png", "marginals.png", "pairs.png", "calibration.png", "reference.png", "risk_coverage.png"):
        assert (folder / "diagnosis" / name).stat().st_size > 1000
    for stage in ("offsets", "gaussians", "gap", "nuts", "datatree"):
        assert any(line.startswith(stage) for line in said.splitlines()), stage


def test_every_verdict_states_its_threshold_or_is_a_note(run):
    folder, said = run
    found = verdicts(folder / "diagnosis")
    assert {"Scale of the guide", "Amortization", "NUTS, tempered", "NUTS, bayesian", "Calibration of NUTS"} <= set(
        found
    )
    for name, verdict in found.items():
        assert verdict["threshold"] or verdict["level"] == "note"
        assert name in said


def test_parts_of_the_gap_add_up_for_every_image(run):
    rows = json.loads((run[0] / "diagnosis" / "diagnosis.json").read_text(encoding="utf-8"))["sections"]["guide"][
        "rows"
    ]
    assert len(rows) == 2 * 6
    for row in rows:
        parts = row["information"] + row["amortization"] + row["family"]
        assert np.isfinite(parts)
        assert row["information"] >= 0
        assert row["amortization"] >= -1e-6  # this guide is a diagonal Gaussian


READ = """
import sys
import arviz
tree = arviz.from_netcdf(sys.argv[1])
assert "vje_ppl" not in sys.modules and "torch" not in sys.modules
groups = {"posterior", "prior", "posterior_predictive", "prior_predictive", "observed_data", "log_likelihood",
          "sample_stats", "posterior_nuts", "posterior_nuts_tempered"}
assert groups <= set(tree.children), set(tree.children)
assert tree["posterior"].latent.dims == ("chain", "draw", "image", "feature")
assert all(("chain" in one.dims) is not name.endswith("data") for name, one in tree.children.items())
assert tree["posterior_nuts"].latent.dims == ("chain", "draw", "image", "feature")
assert set(tree["log_likelihood"].data_vars) == {"direction", "radius"}
assert {"direction_cosine", "radius"} == set(tree["posterior_predictive"].data_vars)
assert tree["posterior"].label.dims == ("image",)
assert abs(float(tree.attrs["beta"]) - 0.1) < 1e-9 and "numpyro" in tree.attrs["versions"]
assert "view" in tree.attrs["target_view"]
table = arviz.summary(tree, group="posterior_nuts", var_names=["latent"])
scores = [arviz.loo(tree, var_name=name, pointwise=True) for name in tree["log_likelihood"].data_vars]
assert all(one.elpd_i.sizes == {"image": 6} and one.n_samples == 30 for one in scores)
print(len(table), len(arviz.summary(tree)), len(arviz.summary(tree, group="prior", kind="stats")))
"""


def test_the_tree_opens_in_plain_arviz(run, tmp_path):
    path = run[0] / "diagnosis" / "diagnosis.nc"
    said = subprocess.run(
        [sys.executable, "-I", "-c", READ, str(path)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.split() == ["48"] * 3  # 6 images of 8 features


def test_a_planted_fault_is_named_and_only_where_it_is_planted(run, tmp_path, capsys):
    options = ("images.count=3", "nuts.draws=10", "nuts.warmup=10", "sections=guide", f"out={tmp_path}")
    results = vje_ppl.load(run[0]).diagnose(*QUICK, "fault=scale_halved", *options)
    assert "planted on purpose" in capsys.readouterr().out
    assert results.tree.attrs["fault"].startswith("planted on purpose")
    assert results.tree["posterior_nuts"].latent.sizes == {"chain": 2, "draw": 10, "image": 3, "feature": 8}
    found, healthy = verdicts(tmp_path), verdicts(run[0] / "diagnosis")
    assert found["Scale of the guide"]["level"] == "bad"
    assert "too narrow" in found["Scale of the guide"]["sentence"]
    for name in ("Scale of the guide", "Mean of the guide", "Features of the guide"):
        assert healthy[name]["level"] != "bad", healthy[name]["sentence"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["sections=guied"], "did you mean guide?"),
        (["case=other"], "case expects run or conjugate"),
        (["samples=0"], "samples expects a whole number of at least 30"),
        (["nuts.target_accept=2.0"], "nuts.target_accept expects"),
        (["images.count=48", "targets=64", "samples=100000", "memory_mb=100"], "bytes"),
        (["fault=feature_collapsed", "fault.feature=99"], "fault.feature expects a feature from 0 to 7"),
        (["predictive.images=1"], "predictive.images expects at least 2 images, got 1"),
    ],
    ids=["section", "case", "samples", "acceptance", "memory", "feature", "images"],
)
def test_mistakes_get_one_sentence(run, overrides, words):
    assert words in one_sentence(diagnose(f"run={run[0]}", *overrides))


def test_no_run_gets_one_sentence():
    assert "run=runs/<name>" in one_sentence(diagnose())


def test_a_part_of_ones_own_gets_the_sections_that_need_no_twin(tmp_path):
    own = "tests.testing.test_likelihood_faults.Cartesian"
    train_in(tmp_path, "run.name=c", "trainer.epochs=1", "likelihood=custom", f"likelihood._target_={own}")
    options = (f"run={tmp_path / 'c'}", "trust_targets=true")
    refused = one_sentence(diagnose(*options))
    assert own in refused
    result = diagnose(*options, refused.rpartition("; ")[2].partition(" ")[0])  # as the sentence says
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "c/diagnosis/diagnosis.json").read_text(encoding="utf-8"))["sections"]
    assert list(found) == ["uncertainty", "predictive", "features"]


@pytest.mark.slow
def test_other_parts_are_diagnosed(tmp_path):
    parts = ("prior=vamp", "likelihood=polar_von_mises_fisher", "guide=flow")
    train_in(tmp_path, "run.name=b", "trainer.epochs=1", *parts)
    result = diagnose(f"run={tmp_path / 'b'}", "images.count=3", "sections=[guide]")
    assert result.returncode == 0, result.stderr
    rows = json.loads((tmp_path / "b" / "diagnosis" / "diagnosis.json").read_text(encoding="utf-8"))
    assert all(np.isfinite(row["log evidence"]) for row in rows["sections"]["guide"]["rows"])
