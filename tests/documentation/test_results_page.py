"""The numbers in the README and on the page of results are those of the published tables."""

from __future__ import annotations

import csv
import re
import statistics

import pytest

from tests.documentation.blocks import ROOT

README, PAGE = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/results.md"))

#: What the pages call a method of the published tables, on z.
NAMES = {
    "vje": "VJE",
    "simsiam": "SimSiam",
    "vicreg": "VICReg",
    "barlow_twins": "Barlow Twins",
    "byol": "BYOL",
    "vi_simsiam": "VI-SimSiam",
    "vje_whitened": "VJE, whitened",
    "vje_4_views": "VJE, whitened, four views",
    "simclr_4_views": "SimCLR, four views",
    "simclr": "SimCLR",
    "lejepa": "LeJEPA",
    "visreg": "VISReg",
    "untrained": "untrained network",
    "raw pixels": "raw pixels",
}
DETECTORS = NAMES | {"vje": "VJE, β = 0.1", "vje_beta_1": "VJE, β = 1"}
SCORES = {
    "conditional ★": "conditional ★",
    "aggregate": "aggregate",
    "knn_distance of z": "k-NN distance of z",
    "mahalanobis of z": "Mahalanobis of z",
    "knn_distance of raw pixels": "k-NN distance",
    "mahalanobis of raw pixels": "Mahalanobis",
}


def table(text: str, heading: str) -> list[list[str]]:
    """The cells of the one table whose first row begins like this, bold type left out."""
    tables = re.findall(r"(?:^\|.*\n)+", text.replace("**", ""), flags=re.MULTILINE)
    (found,) = (one for one in tables if one.startswith(heading))
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in found.splitlines()]


def row(text: str, heading: str, name: str) -> list[str]:
    """The row of a table whose first cell is this, or begins with this and a comma."""
    (found,) = (cells[1:] for cells in table(text, heading) if re.fullmatch(rf"`?{re.escape(name)}`?(,.*)?", cells[0]))
    return found


def published(name: str, heading: str, data: str) -> list[list[str]]:
    """Rows of a published table on one data set."""
    text = (ROOT / f"docs/results/{name}-small/{name}.md").read_text(encoding="utf-8")
    return [cells[1:] for cells in table(text, heading) if cells[0] == data]


@pytest.mark.parametrize(
    ("text", "heading", "data", "columns"),
    [
        pytest.param(README, "| | k-NN, k = 200", "cifar10", slice(0, 3), id="README"),
        pytest.param(PAGE, "| CIFAR-10 as JPEG | k-NN, k = 200", "cifar10", slice(0, 3), id="CIFAR-10"),
        pytest.param(PAGE, "| | digits: k = 69", "digits", slice(0, 3), id="digits"),
        pytest.param(PAGE, "| | digits: k = 69", "fashion_mnist", slice(4, 7), id="Fashion-MNIST"),
    ],
)
def test_accuracies_are_the_published_ones(text, heading, data, columns):
    """All but VJE's on μ and methods that have not been run, which are on the page alone."""
    expected = {
        NAMES[method] + ", on μ" * (features == "μ"): values[:3]
        for method, features, *values in published("knn_linear", "| data", data)
        if text is PAGE or (features != "μ" and set(values[:3]) != {"not run"})
    }
    shown = {cells[0]: cells[1:][columns] for cells in table(text, heading)[2:]}
    assert expected == {name: values for name, values in shown.items() if set(values) != {"—"}}


def test_accuracies_without_projectors_are_the_published_ones():
    expected = {
        NAMES[method.removesuffix("_no_projector")] + ", on μ" * (features == "μ"): values
        for method, features, *values in published("knn_linear_no_projector", "| data", "cifar10")
    }
    shown = table(PAGE, "| CIFAR-10, without projectors")[2:]
    assert {cells[0]: cells[1:] for cells in shown} == expected


@pytest.mark.parametrize("name", ["direction", "whitening"])
@pytest.mark.parametrize(("data", "columns"), [("cifar10", slice(0, 4)), ("fashion_mnist", slice(4, 8))])
def test_accuracies_on_held_out_images_are_the_published_ones(name, data, columns):
    first = {"direction": "| | CIFAR-10: k = 200", "whitening": "| features of a group"}[name]
    words = {"tangent": "not whitened"} if name == "whitening" else {}
    expected = {
        words.get(variant, variant.removeprefix("whiten_")): values[:4]
        for variant, features, *values in published(name, "| data", data)
        if features == "z" and variant != "untrained"
    }
    assert {cells[0]: cells[1:][columns] for cells in table(PAGE, first)[2:]} == expected


@pytest.mark.parametrize(("data", "columns"), [("digits", slice(0, 3)), ("cifar10", slice(3, 6))])
def test_ablations_are_the_published_ones(data, columns):
    heading = "| change | digits: z"
    rows = published("ablation", "| data", data)
    assert len(rows) == len(table(PAGE, heading)) - 2
    for change, *values, _ in rows:
        name = change.replace("untrained", NAMES["untrained"]).replace("factorized", "factorized` direction")
        shown = next(cells for cells in table(PAGE, heading) if cells[0].startswith((name, f"`{name}")))
        assert shown[1:][columns] == [value.replace("—", "") for value in values]


@pytest.mark.parametrize(("data", "columns"), [("cifar10", slice(0, 3)), ("fashion_mnist", slice(3, 6))])
def test_trials_of_the_likelihood_are_the_published_ones(data, columns):
    """All but those without bounds on the scale, which the text below the table gives."""
    expected = {
        f"{name.partition('_')[0]}, β = {beta}{', log radius' * name.endswith('_log_radius')}": values[:3]
        for name, beta, *values in published("likelihood", "| data", data)
        if "unbounded" not in name
    }
    shown = {cells[0]: cells[1:][columns] for cells in table(PAGE, "| | CIFAR-10: ν = 1")[2:]}
    assert shown == expected


def test_detectors_of_other_images_are_the_published_ones():
    names = {"vje": "VJE, ambient", "vje_tangent": "VJE, tangent"}
    scores = {"joint": "joint", "regret": "regret", "surprise": "surprise"} | SCORES
    known = {}
    for out, method, score, auroc, *_, fpr, _ in published("ood", "| data | out", "cifar10"):
        cell = f"{auroc}, {fpr.partition(' ')[0]}"
        known[names.get(method, NAMES.get(method)), scores.get(score), out] = cell
    method = ""
    for cells in table(PAGE, "| method | score | left-out classes")[2:]:
        method = cells[0] or method
        outs = ("left_out", "fashion_mnist", "sample_photos")
        assert cells[2:] == [known[method, cells[1], out] for out in outs]


def test_detectors_of_one_digit_are_the_published_ones():
    for method, score, *_, mean, _ in published(
        "one_class", "| data | method | score | views | S | augmentations | k | 0", "digits"
    ):
        if score in SCORES:
            column = list(SCORES).index(score.replace("raw pixels", "z"))
            expected = mean.removesuffix(" ± 0.0") if method == "raw pixels" else mean  # they are the same in each seed
            assert row(PAGE, "| digits, one model per class", DETECTORS[method])[column] == expected


def scores() -> list[dict[str, str]]:
    with (ROOT / "docs/results/scores-small/scores.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_scores_on_the_classes_of_the_choice_are_the_published_ones():
    names = NAMES.copy()
    for variant, name in (("vje", "ambient, β = 0.1"), ("vje_tangent", "tangent, β = 0.1")):
        names |= {variant: f"VJE, {name}", f"{variant}_beta_1": f"VJE, {name.replace('0.1', '1')}"}
    known = {}
    for method, score, mean, *_ in published("scores", "| data | method | score", "cifar10"):
        form = score.partition(",")[0].removesuffix(" of raw pixels").removesuffix(" of z")
        star = " ★★" * ("★★" in score)
        known[names.get(method), form.partition("/")[0]] = mean + star
    distances = {"knn_distance": "k-NN distance of z", "mahalanobis": "Mahalanobis of z"}
    found: dict[tuple[str, str], list[float]] = {}
    for one in scores():
        chosen = one["features"] in ("z", "pixels") and one["views"] == "clean" and one["score"] in distances
        if chosen and one["class"] in ("automobile", "deer", "ship"):
            method = {"trained": one["method"], "none": "raw pixels"}.get(one["encoder"], one["encoder"])
            found.setdefault((names[method], distances[one["score"]]), []).append(100 * float(one["auroc"]))
    # The untrained network and the pixels are the same beside each method.
    known |= {key: f"{statistics.mean(values):.1f}" for key, values in found.items()}
    heading, *rows = table(PAGE, "| mean of automobile, deer and ship")
    for name, *cells in rows[1:]:
        assert cells == [known.get((name, score), "—") for score in heading[1:]], name


def test_the_chosen_score_on_other_classes_is_that_of_the_cells():
    methods = NAMES | {"vje_tangent": "VJE"}
    distances = {"mahalanobis": "Mahalanobis", "ssd": "SSD", "nearest_cosine": "cosine"}
    references = {"untrained": "untrained network", "none": "raw pixels"}
    known = {}
    for one in scores():
        if one["method"] in ("vje_tangent", "vje_whitened", "simsiam", "vicreg"):
            features = {"z": " of z", "mu": " of μ"}.get(one["features"], "")
            score = f"{distances.get(one['score'], one['score'])}{features}, {one['views']}"
            method = references.get(one["encoder"], methods[one["method"]])
            known[f"{method}: {score}", one["class"]] = 100 * float(one["auroc"])
    heading, *rows = table(PAGE, "| other classes | airplane")
    assert len(rows) == 16
    for label, *cells in rows[1:]:
        values = [known[label.removesuffix(" ★★"), name] for name in heading[1:-1]]
        assert cells == [f"{value:.1f}" for value in (*values, statistics.mean(values))]


def test_detectors_of_one_class_of_cifar_are_the_published_ones():
    shown, method = {}, ""
    for cells in table(PAGE, "| CIFAR-10, one model per class")[2:]:
        method = cells[0] or method
        shown[method, cells[1]] = cells[2:6]
    rows = published("one_class", "| data | method | score | views | S | augmentations | k | automobile", "cifar10")
    assert shown == {
        (DETECTORS[method], SCORES[score]): values[-5:-1] for method, score, *values in rows if score in SCORES
    }
