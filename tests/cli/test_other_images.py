"""A run on images that are not those that it was trained on, and on folders that are laid out in other ways."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

from tests.helpers.commands import command, evaluate, one_sentence, report
from vje_ppl.errors import UserError
from vje_ppl.features.opened_run import open_run
from vje_ppl.features.other_data import open_other
from vje_ppl.runs import checkpoint
from vje_ppl.train.__main__ import main as train_main

FOLDER = (
    *("data=image_folder", "data.subset=null", "encoder=mlp", "encoder.width=16", "encoder.dim=8", "batch_size=4"),
    *("trainer.epochs=1", "guide.network.depth=1", "knn.every=0", "data.workers=0", "run.root=runs"),
)
SCORES = ("scores.neighbours=1", "knn.k=[2]")


def write(root, *folders, count=6, seed=0):
    """Images of noise; those of another seed have the same names and sizes."""
    rng = np.random.default_rng(seed)
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(root / folder / f"{number}.bmp")


SPLITS = ("train/a", "train/b", "test/a", "test/b")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a run on the images in cats/images, beside which others lie in dogs/images; and what it said."""
    root = tmp_path_factory.mktemp("work")
    for seed, name in enumerate(("cats", "dogs")):
        write(root / name / "images", *SPLITS, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        result = train("data.root=cats/images")
    assert result.returncode == 0, result.stderr
    return root, result.stdout


@pytest.fixture
def cats(trained, tmp_path, monkeypatch):
    """A copy of that run, in a copy of that folder, which is the present one."""
    shutil.copytree(trained[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    (folder,) = (tmp_path / "runs").iterdir()
    return folder, trained[1]


def train(*overrides):
    return command(train_main, "vje_ppl.train", *FOLDER, *overrides)


def test_classes_and_test_images_are_said(cats):
    folder, said = cats
    assert "images: 12 training images, in memory; 12 test images\nclasses 2: a, b\n" in said
    assert "note    learns from train and tests on test\n" in said
    metrics = json.loads((folder / "metrics.json").read_text())
    state = checkpoint.load(folder / "checkpoints" / "last.pt")
    assert metrics["data"]["fingerprint"] == state["data"]["fingerprint"]["train"]
    said = evaluate(f"run={folder}", "eval=knn", *SCORES).stdout
    assert "images: 12 training images, 12 test images; cpu\nclasses   2: a, b\n" in said
    assert "These are not" not in said


def test_a_run_goes_on_with_moved_images_and_with_no_others(tmp_path, cats):
    folder, _ = cats
    before = (folder / "config.yaml").read_bytes(), (folder / "metrics.json").read_bytes()
    for more in ([], [f"resume={folder}", "run.name=b"]):  # the same name by default, and what another run is to go on
        said = one_sentence(train("data.root=dogs/images", *more))
        assert (
            "was trained on other images (training images: 12 in cats/images -> 12 others in dogs/images; test images: "
            "12 in cats/images -> 12 others in dogs/images); give data.root=<their folder>, another run.name, or "
            "resume=never."
        ) in said
    assert ((folder / "config.yaml").read_bytes(), (folder / "metrics.json").read_bytes()) == before
    assert not (tmp_path / "runs" / "b" / "config.yaml").exists()

    shutil.copytree("cats/images", "elsewhere/images")
    result = train("data.root=elsewhere/images")
    assert result.returncode == 0, result.stderr
    assert "already finished" in result.stdout


def test_a_changed_test_set_alone_is_no_ground_to_go_on(cats):
    write(cats[0].parent.parent / "cats" / "images", "test/a", seed=5)
    said = one_sentence(train("data.root=cats/images"))
    assert "was trained on other images (test images: 12 in cats/images -> 12 others in cats/images)" in said


def test_an_evaluation_says_which_images_are_others(cats):
    folder, _ = cats
    result = evaluate(f"run={folder}", "eval=knn", "data.root=dogs/images", *SCORES)
    assert result.returncode == 0, result.stderr
    sentence = (
        "These are not the images that the run was trained and tested on (training images: 12 in cats/images -> 12 "
        "others in dogs/images; test images: 12 in cats/images -> 12 others in dogs/images): it may have learned from "
        "test images."
    )
    assert f"warning: {sentence}\n" in result.stdout
    assert report(folder)["knn"]["notes"] == [sentence]
    assert sentence in (folder / "knn.md").read_text()


def test_models_of_a_class_are_not_taken_for_those_of_other_images(cats):
    folder, _ = cats
    ask = (f"run={folder}", "eval=one_class", "one_class.classes=[a]", *SCORES)
    assert evaluate(*ask).returncode == 0
    assert "was trained on other images" in one_sentence(evaluate(*ask, "data.root=dogs/images"))


def test_other_data_sets_of_one_name_keep_their_results_apart(cats, tmp_path):
    folder, _ = cats
    for seed, name in enumerate("xy"):
        write(tmp_path / name / "noise", ".", seed=7 + seed)

    def name(root):
        other = f"ood.data=[{{name: image_folder, root: {root}}}]"
        result = evaluate(f"run={folder}", "eval=ood", other, *SCORES, "scores.views=[clean-clean]")
        assert result.returncode == 0, result.stderr
        (found,) = {row["out"] for row in report(folder)["ood"]["rows"]}
        assert (folder / f"ood_{found}.png").is_file()
        return found

    assert name("x/noise") == "noise"
    picture = (folder / "ood_noise.png").read_bytes()
    second = name("y/noise")
    assert second.startswith("noise-")
    assert (folder / "ood_noise.png").read_bytes() == picture
    assert set(report(folder)["ood"]["names"]) == {"noise", second}


def test_another_data_set_keeps_its_name_and_the_runs_own_is_refused(cats, tmp_path):
    for seed, name in enumerate("xy"):
        write(tmp_path / name / "noise", ".", seed=7 + seed)
    GlobalHydra.instance().clear()
    with initialize_config_module("vje_ppl.configs", version_base="1.3"):
        evaluated = open_run(compose("evaluate", [f"run={cats[0]}"]))
    known: dict[str, str] = {}

    def name(root):
        return open_other({"name": "image_folder", "root": root}, evaluated, known)[0]

    first, second = name("x/noise"), name("y/noise")
    assert first == "noise" != second
    assert [name("y/noise"), name("x/noise")] == [second, first]
    assert name("dogs/images").startswith("images-")  # as the run's own are called
    shutil.copytree("cats/images", "copy/other")
    for root in ("cats/images", "copy/other"):
        with pytest.raises(UserError, match="is the data set that the run was trained on"):
            name(root)


def test_images_for_inspection_are_evaluated_as_they_lie(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "mv", "train/good", count=8)
    write(tmp_path / "mv", "test/good", "test/broken", "test/bent", "ground_truth/bent", seed=1)
    result = train("data.root=mv", "run.name=mv")
    assert result.returncode == 0, result.stderr
    assert "classes 3: bent, broken, good; learns from good alone" in result.stdout
    assert "not used: ground_truth" in result.stdout
    assert "k-NN    skipped" in result.stdout
    folder = tmp_path / "runs" / "mv"
    result = evaluate(f"run={folder}", "eval=one_class", *SCORES)
    assert result.returncode == 0, result.stderr
    rows = report(folder)["one_class"]["rows"]
    facts = {(row["class"], row["n_normal"], row["n_anomalous"], row["trained_on"]) for row in rows[: len(rows) // 2]}
    assert facts == {("good", 6, 12, 8)}
    assert not (folder / "one_class").exists()  # the run is the model of its class
    said = one_sentence(evaluate(f"run={folder}", "eval=linear"))
    assert "all those of mv are of class good; give eval=[one_class]" in said
