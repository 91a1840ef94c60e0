"""Few images, images without contrast and missing labels, from training to evaluation."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

from tests.helpers.commands import command, evaluate, one_sentence
from vje_ppl.diagnose.__main__ import main as diagnose_main

RUN = (
    *("data=image_folder", "data.root=images", "data.workers=0", "data.subset=null", "encoder=mlp", "encoder.dim=8"),
    *("batch_size=2", "run.name=a", "trainer.epochs=1", "knn.every=1"),
)


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def photographs(root, *names, levels=256):
    for seed, name in enumerate(names):
        save(root / name, np.random.default_rng(seed).integers(0, levels, (8, 8, 3), dtype=np.uint8))


def test_one_labelled_image_a_class(train, tmp_path):
    photographs(tmp_path / "images", *(f"{part}/{label}/0.png" for part in ("train", "test") for label in "abc"))
    assert train(*RUN).returncode == 0
    run = f"run={tmp_path / 'runs' / 'a'}"
    assert "no class has two images among these 3; give a single rate" in one_sentence(evaluate(run, "eval=linear"))
    result = evaluate(run, "eval=[linear,knn,whitened_knn]", "linear.lr=0.1")
    assert result.returncode == 0, result.stderr
    assert "Warning" not in result.stderr
    report = json.loads((tmp_path / "runs" / "a" / "evaluation.json").read_text(encoding="utf-8"))
    assert {(row["lr"], row["best_hold_out"]) for row in report["linear"]["rows"]} == {(0.1, None)}
    assert {row["k"] for row in report["knn"]["rows"]} == {1}
    for options, told in (
        (["one_class.classes=null"], "the class a has only 1 training image and needs 2"),
        (["one_class.classes=[b]", "one_class.batch_size=4"], "the class b has only 1 training image and needs 2"),
    ):
        assert told in one_sentence(evaluate(run, "eval=one_class", *options))
    assert not (tmp_path / "runs" / "a" / "one_class").exists()


def test_images_without_contrast_are_named_and_beta_is_not(train, tmp_path):
    photographs(tmp_path / "images", *(f"train/{number}.png" for number in range(4)), "test/0.png", levels=3)
    result = train(*RUN, "data.memory_mb=0")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("4 of 4 training images that were looked at are nearly constant") == 1
    assert "objective.beta" not in result.stdout

    said = one_sentence(command(diagnose_main, "vje_ppl.diagnose", f"run={tmp_path / 'runs' / 'a'}"))
    assert "expect at least 2 held-out images, but images has only 1" in said


def test_twelve_bits_are_refused_and_then_read(train, tmp_path):
    for number in range(4):
        values = np.random.default_rng(number).integers(0, 4096, (8, 8), dtype=np.uint16)
        save(tmp_path / "images" / f"{number}.tif", values)
    said = one_sentence(train(*RUN))
    assert "would be read as nearly black; give data.bits=12 if" in said
    assert "data.bits must be null or a whole number" in one_sentence(train(*RUN, "data.bits=40"))
    result = train(*RUN, "data.bits=12")
    assert result.returncode == 0, result.stderr
    assert "nearly" not in result.stdout
    assert "data.bits: 12 -> 16" in one_sentence(train(*RUN, "data.bits=16"))
