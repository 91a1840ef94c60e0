"""Finished runs side by side, from the outside: what is printed and written, and what is never put together."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from PIL import Image

import vje_ppl.compare.picture
from tests.helpers.cases import composed
from tests.helpers.commands import one_sentence
from vje_ppl.compare.__main__ import main
from vje_ppl.runs.folder import RunFolder

PICTURE = vje_ppl.compare.picture.picture
METRICS = {"epoch": 2, "knn/z": 0.9, "knn/mu": 0.8, "knn/k": 69, "knn/temperature": 0.1, "knn/pixels": 0.6}
METRICS |= {"knn/untrained_z": 0.5, "kl": 10.0, "elbo": -5.0, "seconds": 30.0}
METRICS |= {"data": {"name": "digits", "images": 1438}}
CARTESIAN, POLAR = "likelihood=cartesian_student_t", "likelihood=polar_student_t"
OTHERS = "likelihood.df=3 model/scale=free prior=laplace objective.beta=0.5 objective.num_particles=2 seed=1"


GROUPS = ("likelihood=", "likelihood/", "model/", "prior=")


@cache
def resolved(*overrides):
    """Composing takes a while, so only choices of parts are composed, each once."""
    return json.dumps(OmegaConf.to_container(composed("trainer.epochs=2", *overrides), resolve=True))


@pytest.fixture
def run_of(tmp_path):
    """Makes the folder of a finished run by hand."""

    def make(name, *overrides, likelihood=None, **metrics):
        folder = RunFolder(tmp_path / "runs", name)
        groups = [override for override in overrides if override.startswith(GROUPS)]
        config = OmegaConf.create(json.loads(resolved(*groups)))
        config.merge_with_dotlist([override for override in overrides if override not in groups])
        config = OmegaConf.to_container(config) | ({} if likelihood is None else {"likelihood": likelihood})
        folder.write_config(config)
        folder.write_metrics(METRICS | {"seed": config["seed"]} | {k.replace("_", "/"): v for k, v in metrics.items()})
        return folder

    return make


@pytest.fixture
def compare(tmp_path, monkeypatch, capfd):
    """Runs `python -m vje_ppl.compare` in the folder that holds `runs`; the picture has tests of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for attribute in ("handlers", "propagate"):
        monkeypatch.setattr(logging.getLogger("vje_ppl"), attribute, getattr(logging.getLogger("vje_ppl"), attribute))

    def run(*overrides, draw=False):
        monkeypatch.setattr(vje_ppl.compare.picture, "picture", PICTURE if draw else lambda table: b"")
        monkeypatch.setattr(sys, "argv", ["vje_ppl.compare", *overrides])
        GlobalHydra.instance().clear()
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        return subprocess.CompletedProcess(overrides, left.value.code, *capfd.readouterr())

    return run


def read_csv(folder):
    text = (folder / "comparison.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def column(rows, name):
    return {row["run"]: row[name] for row in rows}


def elbo_columns(rows):
    """The runs that have an ELBO, by the column that it stands in."""
    names = [name for name in rows[0] if name.startswith("ELBO") and not name.endswith(" sd")]
    return {name: {row["run"] for row in rows if row[name]} for name in names}


def test_known_figures_give_the_known_table(run_of, compare, tmp_path):
    run_of("weak", "objective.beta=1", knn_z=0.51239, kl=123.456, elbo=None)
    run_of("strong", "objective.beta=0.03", knn_z=0.75, knn_mu=0.8, kl=7, elbo=1.5, seconds=61.04)
    result = compare()
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "2 runs on digits (1,438 images); 2 epochs; MLP of width 256; seed 0; weighted k-NN with k = 69, T = 0.1; "
        "KL and ELBO in nats per image.",
        "",
        "run     beta  k-NN z  k-NN μ      KL  ELBO  seconds",
        "------  ----  ------  ------  ------  ----  -------",
        "strong  0.03  0.7500  0.8000    7.00  1.50     61.0",
        "weak       1  0.5124  0.8000  123.46     -     30.0",
        "",
        "ELBO [sphere, at most one] is a lower bound on the log evidence.",
        "",
        f"{tmp_path}/runs/comparison: comparison.csv, comparison.md, comparison.png",
    ]
    written = tmp_path / "runs" / "comparison"
    assert sorted(path.name for path in written.iterdir()) == ["comparison.csv", "comparison.md", "comparison.png"]
    assert {entry.name for entry in tmp_path.iterdir()} == {"runs"}


def test_ranks_are_shown_if_a_run_has_them_and_the_higher_comes_first(run_of, compare, tmp_path):
    run_of("a", rankme=12.25, lidar=8.0)
    run_of("b", "prior=laplace", rankme=30.0, lidar=9.0)
    run_of("older", "prior=student_t")
    assert compare("runs=runs", "sort=lidar").returncode == 0
    rows = read_csv(tmp_path / "runs/comparison")
    assert [row["run"] for row in rows] == ["b", "a", "older"]
    assert column(rows, "RankMe") == {"b": "30.0", "a": "12.25", "older": ""}
    assert column(rows, "LiDAR") == {"b": "9.0", "a": "8.0", "older": ""}


def test_csv_keeps_all_digits_and_the_folders(run_of, compare, tmp_path):
    run_of("weak", "objective.beta=1", knn_z=0.1 + 0.2, kl=None)
    run_of("strong", "objective.beta=0.03", elbo=1 / 3)
    assert compare("runs=runs", "out=there/it/goes").returncode == 0
    strong, weak = read_csv(tmp_path / "there" / "it" / "goes")
    assert (float(weak["k-NN z"]), weak["KL"], weak["beta"]) == (0.1 + 0.2, "", "1")
    assert float(strong["ELBO"]) == 1 / 3
    assert weak["folders"] == "runs/weak"
    assert not (tmp_path / "runs" / "comparison").exists()


def test_markdown_is_the_same_table(run_of, compare, tmp_path):
    run_of("a|b", "objective.beta=1", kl=None)
    run_of("c", "objective.beta=0.03", knn_z=0.95)
    assert compare(draw=True).returncode == 0
    text = (tmp_path / "runs" / "comparison" / "comparison.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    header, rule, *body = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert header == ["run", "beta", "k-NN z", "k-NN μ", "KL", "ELBO", "seconds"]
    assert rule == ["---", "---:", "---:", "---:", "---:", "---:", "---:"]
    assert body[0] == ["c", "0.03", "0.9500", "0.8000", "10.00", "-5.00", "30.0"]
    assert body[1] == ["a&#124;b", "1", "0.9000", "0.8000", "—", "-5.00", "30.0"]
    (picture,) = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    with Image.open(tmp_path / "runs" / "comparison" / picture) as image:
        image.load()
        assert image.format == "PNG"


def test_runs_that_differ_in_the_seed_alone_are_one_row(run_of, compare, tmp_path):
    accuracies, bounds = [0.9, 0.93, 0.87], [-5.0, -6.0, -1.0]
    for seed in (2, 0, 1):
        run_of(f"digits-{seed}234abcd", f"seed={seed}", knn_z=accuracies[seed], elbo=bounds[seed])
    run_of("lone", "objective.beta=1", knn_z=0.5)
    result = compare()
    assert "0.9000 ± 0.0300" in result.stdout
    three, one = read_csv(tmp_path / "runs" / "comparison")
    assert (three["run"], three["n"], three["seeds"]) == ("digits", "3", "0, 1, 2")
    assert (one["run"], one["n"], one["seeds"], one["k-NN z sd"]) == ("lone", "1", "0", "")
    assert float(three["k-NN z"]) == pytest.approx(np.mean(accuracies), rel=1e-12)
    assert float(three["k-NN z sd"]) == pytest.approx(np.std(accuracies, ddof=1), rel=1e-12)
    assert float(three["ELBO"]) == pytest.approx(-4)
    assert float(three["ELBO sd"]) == pytest.approx(np.std(bounds, ddof=1), rel=1e-12)
    assert three["folders"].count(";") == 2
    assert "lone" in result.stdout
    assert not re.search(r"lone.*±", result.stdout)


def test_seeds_may_be_kept_apart(run_of, compare, tmp_path):
    for seed in (0, 1):
        run_of(f"digits-{seed}234abcd", f"seed={seed}", knn_z=0.9 - seed / 10)
    assert "±" not in compare("seeds=separate").stdout
    rows = read_csv(tmp_path / "runs" / "comparison")
    assert [(row["seed"], row["k-NN z"]) for row in rows] == [("0", "0.9"), ("1", "0.8")]
    assert "n" not in rows[0]


def test_a_figure_that_one_seed_lacks_is_not_averaged_over_the_others(run_of, compare, tmp_path):
    run_of("a", "seed=0", kl=None)
    run_of("b", "seed=1")
    compare()
    (row,) = read_csv(tmp_path / "runs" / "comparison")
    assert row["KL"] == ""
    assert row["k-NN z"]


def test_a_repeated_run_is_no_further_seed(run_of, compare, tmp_path):
    for name in ("a", "a.1"):
        run_of(name)
    run_of("b", "seed=1", "trainer.device=cpu")
    result = compare()
    assert "a.1 repeats a, configuration and seed, and does not count." in result.stdout
    (row,) = read_csv(tmp_path / "runs" / "comparison")
    assert row["n"] == "2"


def test_seeds_that_differ_between_rows_are_told(run_of, compare, tmp_path):
    run_of("a")
    run_of("b", "objective.beta=1", "seed=7")
    compare()
    assert column(read_csv(tmp_path / "runs" / "comparison"), "seed") == {"a": "0", "b": "7"}


def test_base_measures_never_share_an_elbo_column(run_of, compare, tmp_path):
    kinds = {"sphere": [], "cartesian": [CARTESIAN], "flat": ["likelihood/radius=none"], "polar": [POLAR]}
    for name, overrides in kinds.items():
        for beta in (1, 2):
            run_of(f"{name}_{beta}", *overrides, f"objective.beta={beta}")
    result = compare()
    assert elbo_columns(read_csv(tmp_path / "runs" / "comparison")) == {
        "ELBO [sphere, at most one]": {"sphere_1", "sphere_2"},
        "ELBO [cartesian]": {"cartesian_1", "cartesian_2"},
        "ELBO [sphere, at most one, direction only]": {"flat_1", "flat_2"},
        "ELBO [polar]": {"polar_1", "polar_2"},
    }
    for measure in ("cartesian", "sphere, at most one", "sphere, at most one, direction only"):
        assert f"ELBO [{measure}] is a lower bound on the log evidence." in result.stdout
    assert "ELBO [polar] is not a bound on the log evidence of a normalized model" in result.stdout


def test_an_elbo_without_another_to_stand_beside_is_not_shown(run_of, compare, tmp_path):
    for beta in (1, 2):
        run_of(f"sphere_{beta}", f"objective.beta={beta}")
    run_of("cartesian", CARTESIAN)
    result = compare()
    assert elbo_columns(read_csv(tmp_path / "runs" / "comparison")) == {
        "ELBO [sphere, at most one]": {"sphere_1", "sphere_2"}
    }
    alone = "No ELBO is shown where no other row has the same base measure, data, encoder and augmentation: cartesian ("
    assert f"{alone}cartesian)." in result.stdout
    compare("runs=runs/cartesian")
    assert elbo_columns(read_csv(tmp_path / "runs" / "comparison")) == {"ELBO": {"cartesian"}}


@pytest.mark.parametrize(
    ("override", "data"),
    [
        ("encoder.width=32", "digits"),
        ("norm=group", "digits"),
        ("augment.color.jitter.p=0.5", "digits"),
        ("data.test_fraction=0.5", "digits"),
        ("seed=0", "letters"),
    ],
    ids=["encoder", "normalization", "augmentation", "options of the data", "other images"],
)
def test_an_elbo_is_compared_with_like_only(run_of, compare, tmp_path, override, data):
    for beta in (1, 2):
        run_of(f"one_{beta}", f"objective.beta={beta}")
        run_of(f"other_{beta}", override, f"objective.beta={beta}", data={"name": data, "images": 1438})
    compare()
    groups = elbo_columns(read_csv(tmp_path / "runs" / "comparison"))
    assert sorted(map(sorted, groups.values())) == [["one_1", "one_2"], ["other_1", "other_2"]]
    assert all(re.fullmatch(r"ELBO \[sphere, at most one; [^,]*\]", name) for name in groups)


def test_an_elbo_is_compared_across_what_it_is_there_to_compare(run_of, compare, tmp_path):
    run_of("base")
    for number, override in enumerate(OTHERS.split()):
        run_of(f"other_{number}", override)
    compare("seeds=separate")
    (shared,) = elbo_columns(read_csv(tmp_path / "runs" / "comparison")).values()
    assert len(shared) == 1 + len(OTHERS.split())


MINE = """
import pathlib
from pyro.nn import PyroModule

pathlib.Path("executed").touch()

class Likelihood(PyroModule):
    base_measure = "my own"

class Silent(PyroModule):
    pass
"""


def test_likelihood_of_another_origin_is_not_executed_unless_trusted(run_of, compare, tmp_path):
    (tmp_path / "my_likelihoods.py").write_text(MINE)
    for beta in (1, 2):
        run_of(f"mine_{beta}", f"objective.beta={beta}", likelihood={"_target_": "my_likelihoods.Likelihood"})
    run_of("silent", likelihood={"_target_": "my_likelihoods.Silent"})
    result = compare()
    assert result.returncode == 0
    assert not (tmp_path / "executed").exists()
    assert not elbo_columns(read_csv(tmp_path / "runs" / "comparison"))
    assert "No ELBO for mine_1: likelihood._target_ is 'my_likelihoods.Likelihood'" in result.stdout
    assert column(read_csv(tmp_path / "runs" / "comparison"), "k-NN z")["mine_1"] == "0.9"
    result = compare("trust_targets=true")
    assert elbo_columns(read_csv(tmp_path / "runs" / "comparison")) == {"ELBO [my own]": {"mine_1", "mine_2"}}
    assert "No ELBO for silent: Silent has no base_measure" in result.stdout
    assert (tmp_path / "executed").exists()
    sys.modules.pop("my_likelihoods")


def broken(name):
    return lambda folder: getattr(folder, name).write_text("{")


def rewritten(**changes):
    return lambda folder: folder.write_metrics(METRICS | {key.replace("_", "/"): v for key, v in changes.items()})


def in_progress(folder):
    folder.metrics_json.unlink()
    folder.write_rows([{"epoch": 0, "kl": 1.0}, {"epoch": 1, "kl": 2.0}])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: folder.config.unlink(), "no config.yaml: not a run, or a run that never started"),
        (
            lambda folder: folder.config.write_text("hello: world"),
            "config.yaml was not written by vje_ppl.train: it lacks",
        ),
        (lambda folder: folder.config.write_bytes(b"\xff\xfe\x00"), "cannot be read as a configuration"),
        (broken("config"), "cannot be read as a configuration"),
        (broken("metrics_json"), "metrics.json is not valid JSON: truncated or altered"),
        (lambda folder: folder.metrics_json.write_text("[1]"), "metrics.json must map names to numbers"),
        (rewritten(knn_z="good"), "metrics.json expects a number for knn/z, got 'good'"),
        (rewritten(epoch=1), "unfinished: metrics.json is from epoch 1 of 2"),
        (lambda folder: folder.metrics_json.unlink(), "unfinished: none of 2 epochs; rerun the same command"),
        (in_progress, "unfinished: 1 of 2 epochs; rerun the same command to resume"),
    ],
    ids=["absent", "foreign", "bytes", "not-yaml", "not-json", "list", "word", "epoch", "no-metrics", "in-progress"],
)
def test_what_cannot_be_compared_is_listed_and_loses_nothing(run_of, compare, tmp_path, damage, reason):
    run_of("good")
    bad = run_of("sweep/bad", "objective.beta=1")
    damage(bad)
    before = {path: path.read_bytes() for path in bad.path.rglob("*") if path.is_file()}
    result = compare()
    assert result.returncode == 0, result.stderr
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("  sweep/bad: ")]
    assert reason in line
    assert [row["run"] for row in read_csv(tmp_path / "runs" / "comparison")] == ["good"]
    assert f"- Not compared: {line.strip()}" in (tmp_path / "runs" / "comparison" / "comparison.md").read_text()
    assert {path: path.read_bytes() for path in bad.path.rglob("*") if path.is_file()} == before
    assert reason in compare("runs=runs/sweep").stdout
    assert "none of the 1 runs" in one_sentence(compare("runs=runs/sweep"))


def test_folders_without_a_run_are_listed_and_our_own_output_is_not(run_of, compare, tmp_path):
    run_of("sweep/a")
    (tmp_path / "runs" / "sweep" / "photos" / "cats").mkdir(parents=True)
    (tmp_path / "runs" / "notes.txt").touch()
    assert compare("runs=runs").returncode == 0
    first = (tmp_path / "runs" / "sweep" / "comparison" / "comparison.md").read_bytes()
    result = compare("runs=runs")
    listed = result.stdout.partition("not compared:\n")[2].split("\n\n")[0].splitlines()
    assert listed == ["  photos: no run in it"]
    assert (tmp_path / "runs" / "sweep" / "comparison" / "comparison.md").read_bytes() == first


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ("runs=runs", {"a-2", "a-10", "sub/b"}),
        ("runs=runs/*", {"a-2", "a-10", "sub/b"}),
        ("runs=runs/a-*", {"a-2", "a-10"}),
        ("runs=runs/**", {"a-2", "a-10", "sub/b"}),
        ("runs=[runs/a-2,runs/*/b]", {"a-2", "sub/b"}),
        ("runs=[runs/a-2,runs,runs/./a-2]", {"a-2", "a-10", "sub/b"}),
        ("runs=runs/sub/b", {"b"}),
    ],
)
def test_runs_are_selected_by_folder_and_glob(run_of, compare, tmp_path, runs, expected):
    for number, name in enumerate(["a-2", "a-10", "sub/b"]):
        run_of(name, f"objective.beta={number + 1}")
    assert compare(runs, f"out={tmp_path / 'out'}").returncode == 0
    assert {row["run"] for row in read_csv(tmp_path / "out")} == expected


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["runs=nowhere"], "nothing is at nowhere"),
        (["runs=run*/x*"], "nothing matches run*/x*"),
        (["runs=empty"], "there are none in empty"),
        (["runs=[]"], "runs expects a folder, a glob, or a list of these"),
        (["runs=null"], "runs expects a folder, a glob, or a list of these"),
        (["sort=accuracy"], "sort expects one of knn/z, knn/mu, kl, seconds, elbo, run, k-NN z,"),
        (["seeds=all"], "seeds expects together or separate, got all."),
        (["out=file/below"], "a file is in the way"),
        (["run=runs"], "did you mean runs?"),
    ],
)
def test_mistake_gets_one_sentence(run_of, compare, tmp_path, overrides, said):
    run_of("a")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    assert said in one_sentence(compare(*overrides))
    assert not (tmp_path / "runs" / "comparison").exists()


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("knn/z", "bca"),
        ("knn/mu", "cab"),
        ("kl", "cba"),
        ("seconds", "bac"),
        ("elbo", "acb"),
        ("run", "abc"),
        ("beta", "cba"),
        ("'k-NN z'", "bca"),
    ],
)
def test_rows_are_sorted_best_first_and_what_is_missing_comes_last(run_of, compare, tmp_path, sort, expected):
    run_of("a", "objective.beta=10", knn_z=None, knn_mu=0.5, kl=3, seconds=2, elbo=3)
    run_of("b", "objective.beta=9", knn_z=0.7, knn_mu=0.4, kl=2, seconds=1, elbo=1)
    run_of("c", "objective.beta=0.5", knn_z=0.6, knn_mu=0.6, kl=1, seconds=3, elbo=2)
    assert compare(f"sort={sort}").returncode == 0
    assert "".join(row["run"] for row in read_csv(tmp_path / "runs" / "comparison")) == expected


def test_data_sets_are_kept_apart(run_of, compare, tmp_path):
    letters = {"data": {"name": "letters", "images": 26}}
    run_of("a", knn_z=0.1)
    run_of("b", knn_z=0.9, **letters)
    run_of("c", "objective.beta=1", knn_z=0.3)
    run_of("d", "objective.beta=1", knn_z=0.8, **letters)
    compare()
    rows = read_csv(tmp_path / "runs" / "comparison")
    assert [(row["data"], row["run"]) for row in rows] == [*zip(["digits"] * 2 + ["letters"] * 2, "cabd", strict=True)]


def test_other_images_under_one_name_are_kept_apart(run_of, compare, tmp_path):
    for name, seed, digest in (("a", 0, "26-0123456789abcdef"), ("b", 1, "26-fedcba9876543210"), ("c", 2, None)):
        data = {"name": "letters", "images": 26} | ({} if digest is None else {"fingerprint": digest})
        run_of(name, f"seed={seed}", data=data)
    compare()
    rows = read_csv(tmp_path / "runs" / "comparison")
    assert {row["data"] for row in rows} == {"letters 89abcdef", "letters 76543210", "letters"}


def test_one_set_of_images_is_one_with_and_without_a_digest(run_of, compare, tmp_path):
    data = {"name": "letters", "images": 26}
    run_of("a", "seed=0", data=data | {"fingerprint": "26-0123456789abcdef"})
    run_of("b", "seed=1", data=data)
    compare()
    (row,) = read_csv(tmp_path / "runs" / "comparison")
    assert row["n"] == "2"


def test_settings_of_knn_that_differ_are_columns(run_of, compare, tmp_path):
    run_of("a", "knn.k=10", knn_k=10)
    run_of("b", "knn.k=20", knn_k=20)
    compare()
    assert column(read_csv(tmp_path / "runs" / "comparison"), "k") == {"a": "10", "b": "20"}
