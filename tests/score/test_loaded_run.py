"""`run.evaluate` and `run.diagnose`: the command's files, tables and errors, and nothing else changed."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyro
import pytest
import torch
from hydra.core.hydra_config import HydraConfig

import vje_ppl
from tests.helpers.commands import QUICK, command, evaluate, report, train_in
from vje_ppl.errors import UserError
from vje_ppl.export.__main__ import main as export


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run in a folder whose name has to be quoted."""
    root = tmp_path_factory.mktemp("a, b=[c]")
    train_in(root.parent, "run.name=a", "data.subset=400")
    shutil.move(root.parent / "a", root / "a")
    return vje_ppl.load(root / "a")


def timeless(found: dict) -> dict:
    return {
        name: {key: one for key, one in result.items() if key != "seconds"} if isinstance(result, dict) else result
        for name, result in found.items()
    }


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda run: run.evaluate("eval=[knn,linear]", "knn.k=[5]", *QUICK), id="overrides"),
        pytest.param(lambda run: run.evaluate(*QUICK, eval=["knn", "linear"], **{"knn.k": [5]}), id="settings"),
    ],
)
def test_the_files_are_those_of_the_command(run, call, tmp_path):
    shutil.copytree(run.path, tmp_path / "a")
    assert evaluate(f"run={tmp_path / 'a'}", "eval=[knn,linear]", "knn.k=[5]").returncode == 0
    results = call(run)
    assert timeless(report(run.path)) == timeless(report(tmp_path / "a"))
    assert {path.name for path in run.path.iterdir()} == {path.name for path in (tmp_path / "a").iterdir()}
    assert list(results.frames) == ["knn", "linear"]
    for name, frame in results.frames.items():
        assert frame.to_dict("records") == report(run.path)[name]["rows"]
    assert results.pictures == [run.path / "accuracy.png"]
    html = results._repr_html_()
    assert html.count("<table>") == 2
    assert html.count("<img") == 1


def test_a_list_of_mappings_is_a_setting_too(run):
    results = run.evaluate(*QUICK, "scores.only=[mahalanobis]", eval="ood", **{"ood.data": [{"name": "sample_photos"}]})
    assert set(results.frames["ood"]["out"]) == {"sample_photos"}
    assert [path.name for path in results.pictures] == ["ood_sample_photos.png"]


def test_a_diagnosis_shows_its_verdicts_and_pictures(run):
    results = run.diagnose("uncertainty.images=60", sections=["uncertainty", "active_features"])
    written = json.loads((run.path / "diagnosis/diagnosis.json").read_text(encoding="utf-8"))["sections"]
    verdicts = [one["sentence"] for section in written.values() for one in section["verdicts"]]
    assert sorted(results.frames["verdicts"]["sentence"]) == sorted(verdicts)
    for name, section in written.items():
        assert len(results.frames[name]) == len(section["rows"]) > 0
    assert results.page.read_text(encoding="utf-8").startswith("<!")
    assert {path.name for path in results.pictures} == {path.name for path in results.folder.glob("*.png")}
    assert results._repr_html_().count("<img") == len(results.pictures) > 2
    with pytest.raises(UserError, match="no posteriors; call diagnose with the section guide or reference"):
        results.tree  # noqa: B018


@pytest.mark.parametrize("call", ["evaluate", "diagnose"])
def test_random_states_hydra_and_pyro_are_as_before(run, call):
    def states():
        # Python's too, but beartype, which checks types in the tests, draws from it
        arrays = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()
        return *arrays, id(HydraConfig.instance().cfg), pyro.settings.get("validate_distributions_pyro")

    before = states()
    options = {"evaluate": ("eval=knn",), "diagnose": ("sections=active_features", "features.images=20")}
    getattr(run, call)(*options[call])
    assert states() == before


REFUSED = {
    "kind": (lambda run: run.evaluate("eval=[knm]"), "did you mean knn?"),
    "key": (lambda run: run.evaluate(evl="knn"), "did you mean eval?"),
    "value": (lambda run: run.evaluate("knn.k=[0]"), "knn.k expects"),
    "another run": (lambda run: run.evaluate("run=runs/b"), "leave out run=..., or load the other run"),
    "option": (lambda run: run.evaluate("-m", "seed=0,1"), "overrides such as seed=1, got -m"),
    "several values": (lambda run: run.evaluate("seed=0,1"), "gives several values"),
    "processes": (lambda run: run.evaluate("devices=2"), "for devices=2, use python -m vje_ppl.evaluate"),
    "object": (lambda run: run.evaluate(seed=object()), "evaluate expects settings as numbers, texts"),
    "section": (lambda run: run.diagnose(sections=["guied"]), "did you mean guide?"),
    "samples": (lambda run: run.diagnose(samples=1), "samples expects a whole number of at least 30, got 1"),
    "class": (lambda run: run.diagnose("fault._target_=nowhere.Fault"), "nowhere"),
}


@pytest.mark.parametrize(("call", "words"), REFUSED.values(), ids=REFUSED)
def test_a_mistake_is_one_sentence(run, call, words):
    with pytest.raises(UserError) as refused:
        call(run)
    assert words in str(refused.value)


def test_an_interrupted_training_of_a_class_ends_the_call(run, monkeypatch):
    monkeypatch.setattr("vje_ppl.evaluate.one_class.train", lambda config: 130)
    with pytest.raises(KeyboardInterrupt, match="repeat the call"):
        run.evaluate(*QUICK, eval="one_class")


def test_an_exported_file_is_evaluated_beside_it(run, tmp_path):
    made = command(export, "vje_ppl.export", f"run='{run.path}'", f"out={tmp_path}")
    assert made.returncode == 0, made.stderr
    exported = vje_ppl.load(tmp_path / "model.safetensors")
    found, own = (one.evaluate("eval=knn", "knn.k=[5]").frames["knn"] for one in (exported, run))
    assert (tmp_path / "evaluation.json").is_file()
    assert found.equals(own)
