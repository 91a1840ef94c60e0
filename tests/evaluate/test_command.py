"""`python -m vje_ppl.evaluate` as a user runs it: what it prints, leaves, keeps, and refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

import vje_ppl
from tests.helpers.commands import evaluate, one_sentence, report, train_in
from vje_ppl.data.loaders.digits import digits


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two epochs on all classes, evaluated in every way."""
    root = tmp_path_factory.mktemp("runs")
    train_in(root, "run.name=a", "data.subset=400", "knn.every=1")
    result = evaluate(f"run={root / 'a'}", "eval=[knn,whitened_knn,linear,one_class,ood,uncertainty]")
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    return root / "a", result.stdout


def test_it_leaves_what_it_names(run):
    folder, said = run
    pictures = ("accuracy.png", "one_class.png", "ood_sample_photos.png", "uncertainty.png")
    tables = ("knn.md", "whitened_knn.md", "linear.md", "one_class.md", "ood.md", "uncertainty.md")
    for name in ("evaluation.json", *tables, *pictures):
        assert name in said.splitlines()[-1]
        assert (folder / name).stat().st_size > 500
    assert set(report(folder)) == {"run", "method", "data", "seed", *(name.removesuffix(".md") for name in tables)}
    assert not list(folder.glob(".*features*"))


def test_accuracy_has_rows_for_pixels_and_the_untrained_network(run):
    folder, _ = run
    kinds = [("trained", "z"), ("trained", "mu"), ("untrained", "z"), ("untrained", "mu"), ("none", "pixels")]
    knn, linear = report(folder)["knn"]["rows"], report(folder)["linear"]["rows"]
    assert [(row["encoder"], row["features"]) for row in knn] == [kind for kind in kinds for _ in range(2)]
    assert [(row["encoder"], row["features"]) for row in linear] == kinds
    smallest = int(digits(subset=400).bank.labels.bincount().min())
    assert [(row["k"], row["k_asked"]) for row in knn[:2]] == [(smallest // 2, 200), (smallest // 2, 30)]
    assert all(row["temperature"] == 0.1 and row["bank"] == 400 and row["queries"] == 359 for row in knn)
    whitened = report(folder)["whitened_knn"]["rows"]
    assert [[row[key] for key in ("encoder", "features", "k")] for row in whitened] == [
        [row[key] for key in ("encoder", "features", "k")] for row in knn
    ]
    assert all(row["fitted_to"] == 400 and row["participation_ratio"] > 1 for row in whitened)
    for row in linear:
        assert row["lr"] in (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
        assert row["hold_out_top1"][f"{row['lr']:g}"] == max(row["hold_out_top1"].values())


def test_offline_knn_is_what_training_measured(run):
    """The untrained network is rebuilt from the seed alone, so its accuracy says whether it is the same one."""
    folder, _ = run
    metrics = json.loads((folder / "metrics.json").read_text())
    ours = {(row["encoder"], row["features"]): row["top1"] for row in report(folder)["knn"]["rows"][::2]}
    assert ours["trained", "z"] == metrics["knn/z"]
    assert ours["trained", "mu"] == metrics["knn/mu"]
    assert ours["untrained", "z"] == metrics["knn/untrained_z"]
    assert ours["none", "pixels"] == metrics["knn/pixels"]


def test_one_class_rows_cover_the_whole_test_set(run):
    folder, _ = run
    rows = report(folder)["one_class"]["rows"]
    labels = digits().test.labels
    for name in ("3", "8"):
        of_class = [row for row in rows if row["class"] == name]
        normal = int((labels == int(name)).sum())
        assert {(row["n_normal"], row["n_anomalous"]) for row in of_class} == {(normal, 359 - normal)}
        assert {row["epochs"] for row in of_class} == {1}
        assert not any(row["headline"] for row in of_class)  # with two draws and one pair there is none
        encoders = {(row["encoder"], row["features"]) for row in of_class}
        assert {("none", "pixels"), ("untrained", "z"), ("trained", "z"), ("trained", None)} <= encoders
    means = {tuple(row[key] for key in KEYS): row["auroc"] for row in rows if row["class"] == "mean"}
    for key, mean in means.items():
        each = [row["auroc"] for row in rows if row["class"] != "mean" and tuple(row[k] for k in KEYS) == key]
        assert len(each) == 2
        assert mean == pytest.approx(sum(each) / 2)


KEYS = ("score", "encoder", "features", "views")


def test_pixel_distances_are_those_of_the_class_alone(run):
    """An oracle for the whole path of one class: which images are normal, and which are compared with."""
    folder, _ = run
    few, test = digits(subset=400), digits().test
    bank = few.train.images[few.train.labels == 8].flatten(1).double()
    queries = test.images.flatten(1).double()
    unit = [one / one.norm(dim=1, keepdim=True) for one in (bank, queries)]
    distance = 1 - (unit[1] @ unit[0].T).max(1).values
    expected = roc_auc_score(test.labels != 8, distance)
    wanted = ("8", "none", "nearest_cosine")
    (found,) = (
        row["auroc"]
        for row in report(folder)["one_class"]["rows"]
        if (row["class"], row["encoder"], row["score"]) == wanted
    )
    assert found == pytest.approx(expected, abs=1e-3)  # float32 similarities of near ties


def test_models_of_a_class_are_ordinary_runs_and_never_trained_again(run):
    folder, _ = run
    checkpoints = [folder / "one_class" / name / "checkpoints" / "last.pt" for name in ("3", "8")]
    before = [(path.stat().st_mtime_ns, path.read_bytes()) for path in checkpoints]
    first = report(folder)
    config = (folder / "one_class" / "3" / "config.yaml").read_text()
    assert "only_class: '3'" in config

    again = evaluate(f"run={folder}", "eval=one_class", "batch_size=64")

    assert again.returncode == 0, again.stderr
    assert [(path.stat().st_mtime_ns, path.read_bytes()) for path in checkpoints] == before
    second = report(folder)
    assert {kind: second[kind] for kind in ("knn", "linear", "ood")} == {
        kind: first[kind] for kind in ("knn", "linear", "ood")
    }
    for one, other in zip(first["one_class"]["rows"], second["one_class"]["rows"], strict=True):
        assert one["auroc"] == pytest.approx(other["auroc"], abs=1e-4), one  # the batch size changes rounding alone


def test_a_run_of_one_class_is_scored_as_it_is(run):
    folder, _ = run
    model = folder / "one_class" / "8"
    result = evaluate(f"run={model}", "eval=[one_class]")
    assert result.returncode == 0, result.stderr
    assert not (model / "one_class").exists()
    alone = {tuple(row[key] for key in KEYS): row for row in report(model)["one_class"]["rows"]}
    for row in report(folder)["one_class"]["rows"]:
        if row["class"] == "8":
            assert alone[tuple(row[key] for key in KEYS)]["auroc"] == pytest.approx(row["auroc"], abs=1e-4)


def test_ood_rows_say_what_was_compared(run):
    folder, said = run
    ood = report(folder)["ood"]
    for row in ood["rows"]:
        assert (row["in"], row["out"], row["n_in"], row["n_out"]) == ("digits", "sample_photos", 359, 260)
        assert row["converted"] == "colour to grey, 32×32 to 8×8 pixels"
        assert all(0 <= row[metric] <= 1 for metric in ("auroc", "aupr_in", "aupr_out", "fpr95"))
    assert "FPR95: share of out-of-distribution images" in ood["notes"][0]
    assert ood["notes"][0] in said


def test_every_row_has_its_correlation_with_complexity(run):
    folder, said = run
    for kind in ("one_class", "ood"):
        rows = report(folder)[kind]["rows"]
        assert all(-1 <= row["complexity_correlation"] <= 1 for row in rows)
        assert {row["complexity_correlation"] for row in rows if row["score"] == "complexity"} == {1.0}
        notes = report(folder)[kind]["notes"]
        assert any(note.startswith("ρ PNG: ") for note in notes)
        assert "typicality is not reported: the run has no calibration images" in "\n".join(notes)
    assert "ρ PNG" in said
    means = {
        tuple(row[key] for key in KEYS): row["complexity_correlation"]
        for row in report(folder)["one_class"]["rows"]
        if row["class"] == "mean"
    }
    for key, mean in means.items():
        same = [row for row in report(folder)["one_class"]["rows"] if tuple(row[k] for k in KEYS) == key]
        each = [row["complexity_correlation"] for row in same if row["class"] != "mean"]
        assert mean == pytest.approx(sum(each) / len(each))


def test_uncertainty_is_compared_with_errors_of_retrieval(run):
    folder, _ = run
    rows = report(folder)["uncertainty"]["rows"]
    assert [(row["features"], row["uncertainty"], row["images"]) for row in rows] == [
        ("z", "Σ log σ²", 359),
        ("mu", "Σ log σ²", 359),
    ]
    opened = vje_ppl.load(folder)
    test = digits().test
    z, mean, scale = opened.embed(test.images)
    uncertainty = 2 * scale.double().log().sum(1).numpy()
    for row, features in zip(rows, (z, mean), strict=True):
        unit = features / features.norm(dim=1, keepdim=True)
        nearest = (unit @ unit.T - 3 * torch.eye(359)).argmax(1)
        wrong = (test.labels[nearest] != test.labels).numpy()
        assert row["recall_at_1"] == pytest.approx(1 - wrong.mean(), abs=0.01)  # near ties in float32
        assert row["r_auroc"] == pytest.approx(roc_auc_score(wrong, uncertainty), abs=0.01)
        assert row["aurc_oracle"] <= row["aurc"]
        assert row["aurc_random"] == pytest.approx(1 - row["recall_at_1"])


def test_several_data_sets_with_options(run, tmp_path):
    folder, _ = run
    rng = np.random.default_rng(0)
    for number in range(6):
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    others = f"ood.data=[sample_photos,{{name: image_folder, root: {tmp_path}}}]"
    result = evaluate(f"run={folder}", "eval=ood", others, "images.test=50")
    assert result.returncode == 0, result.stderr
    counts = {row["out"]: (row["n_in"], row["n_out"]) for row in report(folder)["ood"]["rows"]}
    assert counts == {"sample_photos": (50, 50), tmp_path.name: (50, 6)}
    assert (folder / f"ood_{tmp_path.name}.png").is_file()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        pytest.param(["run=null"], "give run=runs/<name>", id="no run"),
        pytest.param(["run=nowhere"], "nowhere", id="run that is not there"),
        pytest.param(["eval=[knm]"], "did you mean knn?", id="unknown evaluation"),
        pytest.param(["eval=[]"], "got none", id="no evaluation"),
        pytest.param(["evl=[knn]"], "did you mean eval?", id="unknown key"),
        pytest.param(["knn.k=[0]"], "knn.k expects", id="k of 0"),
        pytest.param(["knn.temperature=-1"], "knn.temperature", id="negative temperature"),
        pytest.param(["linear.lr=[]"], "linear.lr expects", id="empty grid"),
        pytest.param(["linear.hold_out=1"], "linear.hold_out", id="everything held out"),
        pytest.param(["scores.samples=0"], "scores.samples", id="no draws"),
        pytest.param(["scores.views=[dirty]"], "scores.views", id="unknown views"),
        pytest.param(["scores.only=[jiont]"], "did you mean joint?", id="unknown score"),
        pytest.param(["scores.rank_draws=0"], "scores.rank_draws", id="no draws to rank among"),
        pytest.param(["scores.regret.steps=-1"], "scores.regret.steps", id="fewer than no steps"),
        pytest.param(["images.test=0"], "images.test", id="no test images"),
        pytest.param(["device=tpu"], "device expects", id="unknown device"),
        pytest.param(["devices=0"], "devices expects auto or", id="no device"),
        pytest.param(["data.root=elsewhere"], "has no folder", id="root of data without one"),
        pytest.param(["eval=one_class", "one_class.classes=[12]"], "from 0 to 9, got 12", id="class not there"),
        pytest.param(["eval=one_class", "one_class.classes=[]"], "one_class.classes", id="no class"),
        pytest.param(
            ["eval=one_class", "one_class.batch_size=99"], "one_class.batch_size=99 does not fit the", id="class"
        ),
        pytest.param(["eval=one_class", "one_class.epochs=2"], "trainer.epochs: 1 -> 2", id="other class models"),
        pytest.param(["eval=ood", "ood.data=[digits]"], "was trained on", id="its own data"),
        pytest.param(["eval=ood", "ood.data=[svnh]"], "got svnh", id="unknown data"),
        pytest.param(["eval=ood", "ood.data=[]"], "ood.data", id="no other data"),
        pytest.param(["eval=ood", "ood.data=[cifar10]", "ood.root=nowhere"], "nowhere", id="other data not there"),
        pytest.param(["eval=ood", "ood.data=[{name: cifar10, rot: x}]"], "has no option rot", id="unknown option"),
    ],
)
def test_mistake_gets_one_sentence(run, overrides, said):
    folder, _ = run
    before = (folder / "evaluation.json").read_bytes()
    assert said in one_sentence(evaluate(f"run={folder}", *overrides))
    assert (folder / "evaluation.json").read_bytes() == before


def test_a_damaged_report_is_named_before_the_work(run, tmp_path):
    folder, _ = run
    kept = (folder / "evaluation.json").read_bytes()
    (folder / "evaluation.json").write_text("{")
    try:
        assert "evaluation.json cannot be read" in one_sentence(evaluate(f"run={folder}"))
    finally:
        (folder / "evaluation.json").write_bytes(kept)


def test_images_without_labels(tmp_path):
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        for part in ("train", "test"):
            (tmp_path / "images" / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "images" / part / f"{number}.png")
    options = ("data=image_folder", f"data.root={tmp_path / 'images'}", "data.subset=null", "encoder=mlp")
    train_in(tmp_path, "run.name=a", *options, "batch_size=4", "encoder.dim=8")
    run = f"run={tmp_path / 'a'}"
    for kind in ("knn", "linear", "one_class", "uncertainty"):
        assert f"eval={kind} needs labels" in one_sentence(evaluate(run, f"eval={kind}"))
    result = evaluate(run, "eval=ood")
    assert result.returncode == 0, result.stderr

    for path in (tmp_path / "images" / "test").iterdir():
        path.unlink()
    (tmp_path / "images" / "test").rmdir()
    (tmp_path / "images" / "train").rename(tmp_path / "images" / "all")
    assert "needs test images" in one_sentence(evaluate(run, "eval=ood", f"data.root={tmp_path / 'images' / 'all'}"))


def test_data_of_another_size_are_refused(tmp_path):
    for side, name in ((8, "small"), (16, "large")):
        for label in ("a", "b"):
            (tmp_path / name / label).mkdir(parents=True)
            for number in range(6):
                pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / name / label / f"{number}.png")
    options = ("data=image_folder", f"data.root={tmp_path / 'small'}", "data.subset=null", "encoder=mlp")
    train_in(tmp_path, "run.name=a", *options, "batch_size=4", "encoder.dim=8")
    sentence = one_sentence(evaluate(f"run={tmp_path / 'a'}", f"data.root={tmp_path / 'large'}"))
    assert "8×8" in sentence
    assert "16×16" in sentence


def test_an_interrupted_class_goes_on(run, monkeypatch):
    """Training that was cut short is taken up by the same command."""
    folder, _ = run
    monkeypatch.setattr("vje_ppl.evaluate.one_class.train", lambda config: 130)
    stopped = evaluate(f"run={folder}", "eval=one_class", "one_class.classes=[1]")
    assert stopped.returncode == 130
    assert "interrupted" in stopped.stdout
    monkeypatch.undo()
    result = evaluate(f"run={folder}", "eval=one_class", "one_class.classes=[1]")
    assert result.returncode == 0, result.stderr
    state = torch.load(folder / "one_class" / "1" / "checkpoints" / "last.pt", weights_only=True)
    assert state["finished"]
