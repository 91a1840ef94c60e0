"""What figures and tables say of records whose figures are known."""

from __future__ import annotations

import json
import math
import statistics

import numpy as np
import pytest
from scipy.stats import t as student_t

from tests.helpers.records import block, record, results
from vje_ppl.pictures.style import ORANGE
from vje_ppl.reproduce.cell import Cell
from vje_ppl.reproduce.products.ablation import ablation
from vje_ppl.reproduce.products.dots import colour_of
from vje_ppl.reproduce.products.epochs import epochs
from vje_ppl.reproduce.products.figure_2 import DEGREES, figure_2
from vje_ppl.reproduce.products.figure_3 import figure_3
from vje_ppl.reproduce.products.figure_4 import figure_4
from vje_ppl.reproduce.products.knn_linear import knn_linear
from vje_ppl.reproduce.products.likelihood import likelihood
from vje_ppl.reproduce.products.one_class import one_class
from vje_ppl.reproduce.products.ood import ood
from vje_ppl.reproduce.products.scores import scores
from vje_ppl.reproduce.products.tuning import tuning
from vje_ppl.reproduce.results import cell_facts, read_results
from vje_ppl.reproduce.study import Study, read_study

BETA, NU, CLASS = "objective.beta", "likelihood.df", "data.only_class"


def accuracies(z: float, mu: float | None = None, k: int = 200) -> dict:
    """An evaluation of k-NN and probe: the probe is 0.1 better, the untrained network is at 0.2, pixels at 0.3."""
    kinds = {("trained", "z"): z, ("untrained", "z"): 0.2, ("none", "pixels"): 0.3}
    kinds |= {} if mu is None else {("trained", "mu"): mu}
    rows = [{"encoder": e, "features": f, "top1": value} for (e, f), value in kinds.items()]
    knn = [row | {"k_asked": asked, "k": min(k, asked), "temperature": 0.1} for row in rows for asked in (200, 30)]
    return {"evaluation": {"knn": knn, "linear": [row | {"top1": row["top1"] + 0.1} for row in rows]}}


def auroc(value: float, headline: bool = True) -> dict:
    how = {"S": 16, "augmentations": 4, "k": None}
    shared = how | {"class": "x", "encoder": "trained", "features": None, "views": "augmented-augmented"}
    rows = [shared | {"score": "conditional", "headline": headline, "auroc": value}]
    rows += [shared | {"score": "kl", "headline": False, "auroc": 0.1}]
    distance = how | {"score": "knn_distance", "views": "clean", "headline": False, "class": "x", "k": 5}
    rows += [distance | {"encoder": "trained", "features": "z", "auroc": value - 0.1}]
    rows += [distance | {"encoder": "untrained", "features": "z", "auroc": 0.6}]
    rows += [distance | {"encoder": "none", "features": "pixels", "auroc": 0.7}]
    untrained = {("untrained", "z"): 0.6, ("none", "pixels"): 0.7}
    rows += [
        distance | {"score": "mahalanobis", "encoder": encoder, "features": features, "auroc": value}
        for (encoder, features), value in untrained.items()
    ]
    return {"evaluation": {"one_class": rows + [row | {"class": "mean"} for row in rows]}}


def test_accuracy_is_mean_and_sample_deviation_over_seeds():
    found = results(
        block("digits", "vje", "simsiam", seeds=(0, 1, 2)),
        records={
            ("digits", "vje", 0): accuracies(0.5, 0.4),
            ("digits", "vje", 1): accuracies(0.6, 0.4),
            ("digits", "vje", 2): accuracies(0.9, 0.4),
            ("digits", "simsiam", 0): accuracies(0.25),
        },
    )
    product = knn_linear(found)
    lines = {(line["method"], line["features"]): line for line in product.table}
    spread = 100 * statistics.stdev([0.5, 0.6, 0.9])
    assert lines["vje", "z"]["k-NN, k = 200"] == f"{100 * (0.5 + 0.6 + 0.9) / 3:.1f} ± {spread:.1f}"
    assert lines["vje", "z"]["linear"] == f"76.7 ± {spread:.1f}"
    assert lines["vje", "μ"]["k-NN, k = 30"] == "40.0 ± 0.0"
    assert lines["simsiam", "z"]["k-NN, k = 200"] == "25.0"
    assert {key: line["seeds"] for key, line in lines.items()} == {
        ("vje", "z"): 3,
        ("vje", "μ"): 3,
        ("simsiam", "z"): 1,
        ("untrained", "z"): 3,
        ("raw pixels", "pixels"): 1,
    }
    assert lines["untrained", "z"]["k-NN, k = 200"] == "20.0 ± 0.0"
    assert lines["raw pixels", "pixels"]["linear"] == "40.0"
    assert len(product.rows) == 3 * (8 + 4) + 6 + 3
    assert product.notes == ("Weighted k-NN with T = 0.1.",)


def test_what_was_not_run_says_so():
    found = results(block("digits", "vje"), block("cifar10", "byol"), records={("digits", "vje", 0): accuracies(0.5)})
    lines = {(line["data"], line["method"]): line for line in knn_linear(found).table}
    assert lines["cifar10", "byol"]["linear"] == "not run"
    assert lines["cifar10", "byol"]["seeds"] == 0
    assert found.about() == ["digits: digits, 100 training images; 2 epochs; seed 0.", "cifar10: not run."]


def test_models_of_one_class_say_how_many_images_they_learn_from():
    found = results(
        block("digits", "vje", sweep={CLASS: (3, 8)}),
        records={
            ("digits", "vje", 0, 3): auroc(0.9) | {"metrics": {"data": {"name": "digits", "images": 1400}}},
            ("digits", "vje", 0, 8): auroc(0.9) | {"metrics": {"data": {"name": "digits", "images": 900}}},
        },
    )
    assert found.about() == ["digits: digits, 900 to 1,400 training images; 2 epochs; seed 0."]


def test_a_clipped_k_is_told():
    found = results(block("digits", "vje"), records={("digits", "vje", 0): accuracies(0.5, k=69)})
    product = knn_linear(found)
    assert product.notes[1:] == ("k is at most half the smallest class: on digits it is 69 for 200.",)
    heads = [axes.get_title(loc="right") for axes in product.figure.axes]
    assert heads == ["k-NN, k = 69", "k-NN, k = 30", "linear"]


def test_one_class_means_are_over_seeds_with_all_classes():
    found = results(
        block("digits", "vje", "simsiam", seeds=(0, 1), sweep={CLASS: (3, 8)}),
        records={
            ("digits", "vje", 0, 3): auroc(0.9),
            ("digits", "vje", 0, 8): auroc(0.7),
            ("digits", "vje", 1, 3): auroc(0.5),
        },
    )
    product = one_class(found)
    lines = {(line["method"], line["score"]): line for line in product.table}
    assert len(lines) == len(product.table)
    headline = lines["vje", "conditional ★"]
    assert headline["3"] == f"70.0 ± {100 * statistics.stdev([0.9, 0.5]):.1f}"
    assert headline["8"] == "70.0"
    assert (headline["mean"], headline["seeds"]) == ("80.0", 1)
    assert lines["vje", "knn_distance of z"]["mean"] == "70.0"
    assert lines["untrained", "knn_distance of z"]["mean"] == "60.0"
    assert lines["raw pixels", "knn_distance of raw pixels"]["mean"] == "70.0"
    assert not [key for key in lines if key[1] and "kl" in key[1]]
    assert (headline["S"], headline["augmentations"], lines["vje", "knn_distance of z"]["k"]) == (16, 4, 5)
    not_run = lines["simsiam", None]
    assert (not_run["3"], not_run["8"], not_run["mean"], not_run["seeds"]) == ("not run", "not run", "not run", 0)
    assert len(product.rows) == 3 * 7


def test_a_class_that_was_not_run_says_so():
    found = results(
        block("digits", "vje", sweep={CLASS: (3, 8)}),
        block("cifar10", "vje", sweep={CLASS: ("cat",)}),
        records={("digits", "vje", 0, 3): auroc(0.9)},
    )
    lines = {line["data"]: line for line in reversed(one_class(found).table)}
    assert [lines["digits"][key] for key in ("3", "8", "mean")] == ["90.0", "not run", "not run"]
    assert (lines["cifar10"]["cat"], "3" in lines["cifar10"]) == ("not run", False)


def detections(value: float, *outs: str) -> dict:
    """Rows of one evaluation: the headline's AUROC is `value`, and 0.1 lower for each further set of other images."""
    how = {"S": 16, "augmentations": 4, "k": None, "headline": False, "encoder": "trained", "features": "z"}
    kinds = {
        "conditional": {"headline": True, "features": None, "views": "augmented-augmented"},
        "kl": {"features": None, "views": "clean"},
        "mahalanobis": {"views": "clean"},
    }
    rows = [
        how
        | {"score": score, "out": out, "auroc": value - place / 10, "aupr_in": 0.5, "aupr_out": 0.25, "fpr95": 0.75}
        | kind
        for place, out in enumerate(outs)
        for score, kind in kinds.items()
    ]
    rows += [row | {"encoder": "untrained", "auroc": 0.3} for row in rows if row["score"] == "mahalanobis"]
    return {"evaluation": {"ood": rows}}


def test_out_of_distribution_figures_are_means_over_seeds():
    found = results(
        block("cifar10", "vje", "byol", seeds=(0, 1)),
        records={
            ("cifar10", "vje", 0): detections(0.9, "sample_photos", "left_out", "svhn"),
            ("cifar10", "vje", 1): detections(0.7, "sample_photos", "left_out", "svhn"),
        },
    )
    product = ood(found)
    spread = f"± {100 * statistics.stdev([0.9, 0.7]):.1f}"
    lines = {(line.get("out"), line["method"], line["score"]): line for line in product.table}
    assert len(lines) == len(product.table)
    headline = lines["left_out", "vje", "conditional ★"]
    assert headline["AUROC"] == f"70.0 {spread}"
    assert (headline["AUPR-in"], headline["AUPR-out"], headline["FPR95"]) == ("50.0 ± 0.0", "25.0 ± 0.0", "75.0 ± 0.0")
    assert headline["seeds"] == 2
    # The near sets are left_out alone, which has no mean; the far sets are svhn and sample_photos.
    assert lines["mean of far", "vje", "conditional ★"]["AUROC"] == f"70.0 {spread}"
    assert ("mean of near", "vje", "conditional ★") not in lines
    assert lines["svhn", "untrained", "mahalanobis of z"]["AUROC"] == "30.0 ± 0.0"
    assert lines[None, "byol", "not run"]
    outs = list(dict.fromkeys(line.get("out") for line in product.table))
    assert outs == ["left_out", "svhn", "sample_photos", "mean of far", None]
    assert not [key for key in lines if "kl" in key[2]]


def test_trials_of_likelihoods_have_a_line_for_each_beta():
    sweep = {BETA: (0.1, 1.0), NU: (1.0,)}
    found = results(
        block("cifar10", "ambient", sweep=sweep),
        block("cifar10", "tangent", sweep={BETA: (0.1,), NU: (1.0, math.inf)}),
        records={
            ("cifar10", "ambient", 0, 0.1, 1.0): {"metrics": {"knn/z": 0.3}},
            ("cifar10", "tangent", 0, 0.1, math.inf): {"metrics": {"knn/z": 0.2}},
        },
    )
    product = likelihood(found)
    assert product.table == [
        {"data": "cifar10", "likelihood": "ambient", "β": "0.1", "ν = 1": "30.0", "ν = inf": None},
        {"data": "cifar10", "likelihood": "ambient", "β": "1", "ν = 1": "not run", "ν = inf": None},
        {"data": "cifar10", "likelihood": "tangent", "β": "0.1", "ν = 1": "not run", "ν = inf": "20.0"},
    ]
    assert [line.get_label() for line in product.figure.axes[0].lines] == [
        "ambient, ν = 1",
        "tangent, ν = 1",
        "tangent, ν = inf",
    ]


def test_figure_4_leaves_out_a_cell_that_lacks_a_class():
    sweep = {BETA: (0.1, 1.0), NU: (1.0, 5.0), CLASS: (0, 1)}
    done = {
        ("digits", "vje", 0, beta, nu, one): auroc(0.5 + one / 10)
        for beta in (0.1, 1.0)
        for nu in (1.0,)
        for one in (0, 1)
    }
    done["digits", "vje", 0, 0.1, 5.0, 0] = auroc(0.9)
    product = figure_4(results(block("digits", "vje", sweep=sweep), records=done))
    assert product.table == [
        {"data": "digits", "β": "0.1", "ν = 1": "55.0", "ν = 5": "not run"},
        {"data": "digits", "β": "1", "ν = 1": "55.0", "ν = 5": "not run"},
    ]
    (image,) = product.figure.axes[0].images
    np.testing.assert_allclose(image.get_array().filled(np.nan), [[55, np.nan], [55, np.nan]])
    assert [row["auroc"] for row in product.rows] == [0.5, 0.6, 0.9, 0.5, 0.6]
    assert product.notes[1:] == [
        "digits: beside it, the Mahalanobis distance has 60.0 on the untrained network's z and 70.0 on raw pixels."
    ]


def test_a_cell_that_two_studies_share_has_the_sweep_of_each(tmp_path):
    written, asked = (
        Cell("digits", "vje", point, 0, (), (), {BETA: 0.1, CLASS: 3}, {})
        for point in ({CLASS: 3}, {BETA: 0.1, CLASS: 3})
    )
    assert written.file_name == asked.file_name
    (tmp_path / written.file_name).write_text(json.dumps(record(written, **auroc(0.5))))
    sweep = block("digits", "vje", sweep={BETA: (0.1,), CLASS: (3,)})
    found = read_results(Study("figure_4", "small", "A title", (sweep,)), [asked], tmp_path)
    (one,) = found.of("digits", "vje", {BETA: 0.1})
    assert cell_facts(one)[BETA] == 0.1


def test_figure_3_draws_the_mean_of_each_epoch():
    def curve(*values: float) -> dict:
        rows = [{"epoch": float(epoch), "knn/z": value} for epoch, value in enumerate(values)]
        level = {"knn/pixels": 0.3, "knn/untrained_z": values[0]}
        return {"history": rows, "metrics": {"knn/k": 30, "knn/temperature": 0.1} | level}

    found = results(
        block("cifar10", "simsiam", seeds=(0, 1)),
        records={("cifar10", "simsiam", 0): curve(0.1, 0.2, 0.3), ("cifar10", "simsiam", 1): curve(0.3, 0.4)},
    )
    product = figure_3(found)
    line = product.figure.axes[0].lines[0]
    np.testing.assert_allclose(line.get_xydata(), [[0, 20], [1, 30]])  # the third epoch has one seed alone
    spread = f"± {100 * statistics.stdev([0.2, 0.4]):.1f}"
    assert [(line["method"], line["last epoch"]) for line in product.table] == [
        ("simsiam", f"30.0 {spread}"),
        ("untrained", f"20.0 {spread}"),
        ("raw pixels", "30.0"),
    ]


def test_figure_2_is_the_loss_of_scipy_and_its_slope():
    product = figure_2(results(records={}))
    assert {row["nu"] for row in product.rows} == set(DEGREES)
    for df in DEGREES:
        rows = [row for row in product.rows if row["nu"] == df]
        residual, loss, influence = (np.array([row[key] for row in rows]) for key in ("residual", "loss", "influence"))
        of = student_t(df)  # SciPy's limit at infinity is the Normal
        np.testing.assert_allclose(loss, of.logpdf(0) - of.logpdf(residual), atol=1e-12)
        slope = residual if math.isinf(df) else (df + 1) * residual / (df + residual**2)
        np.testing.assert_allclose(influence, slope, atol=1e-12)


def test_ablation_gives_accuracy_and_kl_of_each_change():
    metrics = {"knn/z": 0.5, "knn/mu": 0.4, "kl": 12.34, "knn/k": 30, "knn/temperature": 0.1, "knn/pixels": 0.3}
    found = results(block("digits", "base", "nu_2"), records={("digits", "base", 0): {"metrics": metrics}})
    product = ablation(found)
    assert product.table == [
        {"data": "digits", "change": "base", "k-NN z": "50.0", "k-NN μ": "40.0", "KL": "12.3", "seeds": 1},
        {"data": "digits", "change": "nu_2", "k-NN z": "not run", "k-NN μ": "not run", "KL": None, "seeds": 0},
        {"data": "digits", "change": "raw pixels", "k-NN z": "30.0", "k-NN μ": None, "KL": None, "seeds": 1},
    ]
    assert product.notes == ["digits: weighted k-NN with k = 30, T = 0.1."]


def test_a_picture_says_how_many_seeds_and_its_note_fits():
    metrics = {"knn/k": 30, "knn/temperature": 0.1, "knn/untrained_z": 0.2, "knn/pixels": 0.3}
    done = {("digits", "base", seed): {"metrics": metrics | {"knn/z": 0.5 + seed / 10}} for seed in (0, 1)}
    figure = ablation(results(block("digits", "base", seeds=(0, 1)), records=done)).figure
    figure.draw_without_rendering()
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["base (2)", "untrained (2)", "raw pixels (1)"]
    note = figure.texts[-1]
    assert "grey: nothing learned" in note.get_text().replace("\n", " ")
    assert all(text.get_window_extent().x1 <= figure.bbox.x1 for text in figure.texts)


def test_tuning_names_the_best_rate():
    found = results(
        block("cifar10", "vje", sweep={"optimizer.lr": (0.001, 0.01)}),
        records={
            ("cifar10", "vje", 0, 0.001): {"metrics": {"knn/z": 0.4, "knn/untrained_z": 0.2}},
            ("cifar10", "vje", 0, 0.01): {"metrics": {"knn/z": 0.3}},
        },
    )
    assert tuning(found).table == [
        {"data": "cifar10", "method": "vje", "lr 0.001": "40.0", "lr 0.01": "30.0", "best lr": "0.001"},
        {"data": "cifar10", "method": "untrained", "lr 0.001": "20.0", "lr 0.01": "20.0", "best lr": None},
    ]


@pytest.mark.parametrize("draw", [knn_linear, one_class, ablation, figure_3], ids=lambda one: one.__name__)
def test_nothing_run_is_drawn_too(draw, tmp_path):
    sweep = {CLASS: (3, 8)} if draw is one_class else {}
    product = draw(results(block("digits", "vje", sweep=sweep), records={}))
    product.figure.savefig(tmp_path / "nothing.png")
    assert not product.rows


def scored(**values: float) -> dict:
    """A record with the AUROC of scores of the image itself."""
    shared = {"S": None, "augmentations": 0, "k": None, "class": "x", "encoder": "trained", "views": "clean"}
    of = {"joint": None, "kl": None, "regret": None, "mahalanobis": "z"}
    rows = [
        shared | {"score": name, "features": of[name], "headline": False, "auroc": value}
        for name, value in values.items()
    ]
    return {"evaluation": {"one_class": rows}}


def test_the_second_headline_is_chosen_on_some_classes_and_reported_on_the_others():
    classes = ("automobile", "deer", "ship", "cat", "dog")
    first, second = "mean of automobile, deer, ship", "mean of the other 2"
    found = results(
        block("cifar10", "vje", "vje_beta_1", "simsiam", sweep={CLASS: classes[:3]}),
        block("cifar10", "vje", "vje_beta_1", "simsiam", sweep={CLASS: classes[3:]}),
        records={
            **{("cifar10", "vje", 0, one): scored(joint=0.6, kl=0.9, mahalanobis=0.7) for one in ("cat", "dog")},
            **{("cifar10", "vje", 0, one): scored(joint=0.8, kl=0.2, mahalanobis=0.7) for one in classes[:3]},
            **{("cifar10", "vje_beta_1", 0, one): scored(joint=0.7, kl=0.3, mahalanobis=0.5) for one in classes},
            **{("cifar10", "simsiam", 0, one): scored(mahalanobis=0.65) for one in classes[:4]},
        },
    )
    product = scores(found)
    lines = {(line["method"], line["score"]): (line[first], line[second]) for line in product.table}
    assert lines == {
        ("vje", "joint, clean ★★"): ("80.0", "60.0"),
        ("vje", "kl, clean"): ("20.0", None),  # the best on the other classes, which nobody has asked
        ("vje_beta_1", "joint, clean"): ("70.0", None),
        ("vje_beta_1", "kl, clean"): ("30.0", None),
        ("vje", "mahalanobis of z, clean"): ("70.0", "70.0"),
        ("vje_beta_1", "mahalanobis of z, clean"): ("50.0", "50.0"),
        ("simsiam", "mahalanobis of z, clean"): ("65.0", "not run"),
    }
    assert (
        "joint, clean of vje, the best mean over automobile, deer, ship among 4 scores of 2 models" in product.notes[0]
    )


def test_features_without_training_come_from_any_variant_that_has_a_class():
    classes = ("automobile", "deer", "ship", "cat", "dog")

    def record(value: float) -> dict:
        made = scored(mahalanobis=value)
        row = made["evaluation"]["one_class"][0]
        made["evaluation"]["one_class"] += [row | {"encoder": one} for one in ("untrained", "none")]
        return made

    found = results(
        block("cifar10", "vje", "simsiam", sweep={CLASS: classes}, seeds=(0, 1)),
        records={
            **{("cifar10", "vje", 0, one): record(0.6) for one in classes[:3]},
            **{("cifar10", "simsiam", seed, one): record(0.7) for one in classes for seed in (0, 1)},
        },
    )
    shown = {line["method"]: list(line.values())[3:] for line in scores(found).table}
    assert shown == {
        "vje": ["60.0", "not run", 1],
        "simsiam": ["70.0 ± 0.0", "70.0 ± 0.0", 2],
        "untrained": ["65.0 ± 7.1", "70.0 ± 0.0", 2],
        "raw pixels": ["60.0", "70.0", 1],  # which are the same for every seed
    }


def test_detection_over_training_needs_all_classes():
    sweep = {"trainer.epochs": (25, 100), CLASS: ("deer", "ship")}
    found = results(
        block("cifar10", "vje", "simsiam", sweep=sweep),
        records={
            ("cifar10", "vje", 0, 25, "deer"): scored(regret=0.5, mahalanobis=0.6),
            ("cifar10", "vje", 0, 25, "ship"): scored(regret=0.7, mahalanobis=0.8),
            ("cifar10", "vje", 0, 100, "ship"): scored(regret=0.9, mahalanobis=0.9),
        },
    )
    shown = {(line["method"], line["score"]): (line["25 epochs"], line["100 epochs"]) for line in epochs(found).table}
    assert shown == {
        ("vje", "regret, clean"): ("60.0", "not run"),
        ("vje", "mahalanobis of z, clean"): ("70.0", "not run"),
        ("simsiam", "not run"): ("not run", "not run"),
    }


def test_variants_of_vje_have_its_colour():
    names = {
        variant
        for name in ("knn_linear", "knn_linear_no_projector", "whitening")
        for block in read_study(name, "small").blocks
        for variant in block.variants
    }
    baselines = {name for name in names if colour_of(name) == ORANGE}
    assert {"vje", "vje_whitened", "tangent", "whiten_64"} <= names - baselines
    assert {"simsiam", "vi_simsiam", "vicreg_no_projector", "lejepa"} <= baselines
