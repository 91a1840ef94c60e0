"""Image files that cannot be used stop a run, or are left out and counted, in training and in evaluation."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from PIL import Image

from tests.helpers.commands import evaluate, one_sentence

#: Of each of the two classes, in training and in testing.
GOOD = 10
CORRUPT = 3

RUN = (
    *("data=image_folder", "data.root=images", "data.workers=0", "augment.size=16", "batch_size=8", "run.name=a"),
    *("encoder=small_resnet", "encoder.width=4", "guide.network.width=1", "trainer.precision=32", "trainer.epochs=2"),
    *("knn.every=1", "trainer.progress=false"),
)


def photographs(root, side):
    draw = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(GOOD):
                pixels = draw.integers(0, 256, (side, side, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number:02}.jpg", quality=95)
        whole = (root / split / "cat" / "00.jpg").read_bytes()
        corrupt = [whole[: len(whole) // 2], b"", b"<html>not found</html>"]
        for number, data in enumerate(corrupt):
            (root / split / "dog" / f"x{number}.jpg").write_bytes(data)


def counted(text):
    return [int(one) for one in re.findall(r"left out (\d+) unusable image file", text)]


@pytest.mark.parametrize("side", [24, 120], ids=["held in memory", "streamed"])
def test_corrupt_images_stop_the_run_or_are_left_out(train, tmp_path, side):
    photographs(tmp_path / "images", side)
    said = one_sentence(train(*RUN, small=False))
    assert re.search(r"the image \S+/dog/x\d\.jpg cannot be read", said)
    assert "data.on_error=skip" in said

    result = train(*RUN, "data.on_error=skip", small=False)
    assert result.returncode == 0, result.stderr
    assert max(counted(result.stderr)) == CORRUPT
    # Of training and of test images, each once; what is streamed is read for training and for k-NN.
    assert sum(counted(result.stderr)) == {24: 2, 120: 3}[side] * CORRUPT
    metrics = json.loads((tmp_path / "runs" / "a" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["knn/queries"] == 2 * GOOD

    again = evaluate(f"run={tmp_path / 'runs' / 'a'}", "eval=knn", "knn.k=2")
    assert again.returncode == 0, again.stderr
    assert sum(counted(again.stderr)) >= CORRUPT
    report = json.loads((tmp_path / "runs" / "a" / "evaluation.json").read_text(encoding="utf-8"))
    assert {row["queries"] for row in report["knn"]["rows"]} == {2 * GOOD}


def test_nothing_but_corrupt_images_is_one_sentence(train, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    assert "none of the 4 image files can be read" in one_sentence(train(*RUN, "data.on_error=skip", small=False))
