"""`python -m vje_ppl.score` as a user runs it, on digits as image files."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from PIL import Image
from scipy import stats

import vje_ppl
from tests.cli.test_distributed import finish as run_apart
from tests.helpers.commands import SMALL, command, one_sentence
from tests.helpers.processes import Command
from vje_ppl.data.loaders.digits import digits
from vje_ppl.errors import UserError
from vje_ppl.features.opened_run import open_run
from vje_ppl.measures.anomaly.scorer import scorer
from vje_ppl.score.__main__ import main
from vje_ppl.train.__main__ import main as train_main

#: Of digits that are normal: alpha, and how seldom a right program is outside the bounds below.
ALPHA, SELDOM = 0.1, 1e-3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run that kept calibration images, one that did not, and the test digits as files, some of them broken."""
    root = tmp_path_factory.mktemp("score")
    kinds = {
        "a": ("calibration=0.3",),
        "plain": ("data.subset=128",),
        "turned": ("data.only_class=3", "rotations=true"),
    }
    for name, more in kinds.items():
        small = [one for one in SMALL if not one.startswith("data.subset")] + ["data.subset=null", "trainer.epochs=3"]
        made = command(train_main, "vje_ppl.train", *small, *more, f"run.root={root / 'runs'}", f"run.name={name}")
        assert made.returncode == 0, made.stderr
        assert ("; 434 kept for calibration" in made.stdout) == (name == "a")
    photos = root / "photos"
    (photos / "sub").mkdir(parents=True)
    for number, image in enumerate(digits().test.images):
        Image.fromarray(image[0].numpy()).save(photos / f"{number:03}.png")
    for name in ("005.png", 'sub/=, "broken".png', "200.png"):
        (photos / name).write_bytes(b"no image")
    Image.effect_noise((40, 30), 90).convert("RGB").save(photos / "sub" / "colour.png")
    return root


def score(folder: Path, *overrides: str):
    return command(main, "vje_ppl.score", f"run={folder / 'runs/a'}", "device=cpu", "workers=0", *overrides)


def table(out: Path) -> list[dict[str, str]]:
    with (out / "scores.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def column(rows: list[dict[str, str]], name: str) -> np.ndarray:
    return np.array([float(one[name]) if one[name] else np.nan for one in rows])


@pytest.fixture(scope="module")
def scored(folder):
    result = score(folder, f"images={folder / 'photos'}", f"alpha={ALPHA}")
    assert result.returncode == 0, result.stderr
    return result.stdout, folder / "runs/a/scores/photos"


def test_every_file_is_a_row_and_broken_files_say_why(folder, scored):
    out, rows = scored[1], table(scored[1])
    assert {path.name for path in out.iterdir()} == {"scores.csv", "contact_sheet.png", "summary.json"}
    assert len(rows) == len(digits().test) + 2
    broken = [one for one in rows if not one["score"]]
    assert [Path(one["path"]).name for one in broken] == ["005.png", "200.png", '=, "broken".png']
    assert all("cannot be read" in one["reason"] and not one["p_value"] and not one["flag"] for one in broken)
    assert all(Path(one["path"]).exists() for one in rows)
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["finished"]
    assert (summary["images"], summary["without_score"]) == (len(rows), 3)
    assert f"{len(rows) - 3} of {len(rows)} images, 3 without a score" in scored[0]
    assert "by 434 calibration images that the run kept" in scored[0]


def normal(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [one for one in rows if one["score"] and "colour" not in one["path"]]


@pytest.mark.parametrize("name", ["mahalanobis", "conditional", "joint", "typicality"])
def test_p_values_of_fresh_normal_images_are_uniform(name, folder, scored):
    if name != "mahalanobis":
        made = score(folder, f"images={folder / 'photos'}", f"alpha={ALPHA}", f"score={name}", "scores.pairs=1")
        assert made.returncode == 0, made.stderr
    rows = normal(table(scored[1].with_name("photos" if name == "mahalanobis" else f"photos-{name}")))
    p, n = column(rows, "p_value"), 217 if name == "typicality" else 434  # of which half are for its fit
    ranks = p * (n + 1)
    np.testing.assert_allclose(ranks, ranks.round(), atol=1e-5)  # multiples of 1/(n+1)
    # Both samples are finite: a two-sample Kolmogorov-Smirnov statistic, bounded by the DKW inequality on either side.
    values = np.arange(1, n + 2) / (n + 1)
    distance = np.abs((p[:, None] <= values + 1e-9).mean(0) - values).max()
    bound = sum(np.sqrt(np.log(4 / SELDOM) / (2 * count)) for count in (n, len(rows))) + 1 / (n + 1)
    assert distance < bound
    # Given the calibration scores, the share below alpha is Beta distributed, and the count of flags binomial.
    rank = int(np.floor(ALPHA * (n + 1)))
    low, high = stats.betabinom(len(rows), rank, n + 1 - rank).ppf([SELDOM / 2, 1 - SELDOM / 2])
    assert low <= sum(one["flag"] == "1" for one in rows) <= high
    assert all((one["flag"] == "1") == (float(one["p_value"]) <= ALPHA) for one in rows)


def test_python_says_that_nothing_can_be_flagged(folder, caplog):
    vje_ppl.load(folder / "runs/a").score(digits().test.images, alpha=0.001)
    assert "434 calibration images are too few for alpha=0.001" in caplog.text


def test_python_gives_the_numbers_of_the_command(folder, scored):
    run = vje_ppl.load(folder / "runs/a")
    rows = table(scored[1])
    found = run.score(folder / "photos", alpha=ALPHA)
    np.testing.assert_allclose(found.score, column(rows, "score"), rtol=1e-8)
    np.testing.assert_allclose(found.p_value, column(rows, "p_value"), rtol=1e-8)
    assert found.flag.tolist() == [one["flag"] == "1" for one in rows]
    assert list(found.paths) == [one["path"] for one in rows]
    assert len(found.reasons) == 3
    assert_same_columns(found.frame, rows)
    places = [number for number in range(len(digits().test)) if number not in (5, 200)]
    images = digits().test.images[torch.tensor(places)]
    for pixels in (images, images.numpy(), images.float() / 255, images.expand(-1, 3, -1, -1)):
        of_pixels = run.score(pixels, alpha=ALPHA)
        np.testing.assert_allclose(of_pixels.score, column(normal(rows), "score"), rtol=1e-6)
    without = run.score(images, calibrate=False)
    assert np.isnan(without.p_value).all()
    assert without.frame["flag"].isna().all()
    with pytest.raises(UserError, match="score has no option sede; did you mean seed"):
        run.score(images, sede=1)
    for key, value in {"alpha": 5, "batch_size": 0, "workers": -1}.items():
        with pytest.raises(UserError, match=f"{key} expects .*, got {value}"):
            run.score(images, **{key: value})
    with pytest.raises(
        ValueError, match=r"score expects floats in \[0, 1\], or bytes in 0..255, got torch.float32 from 0"
    ):
        run.score(images.float())


def assert_same_columns(frame, rows: list[dict[str, str]]) -> None:
    assert list(frame.columns) == list(rows[0])
    for name in ("score", "p_value"):
        np.testing.assert_allclose(frame[name], column(rows, name), rtol=1e-8)
    assert frame["path"].tolist() == [one["path"] for one in rows]
    flags = [
        "" if missing else str(int(flag)) for flag, missing in zip(frame["flag"], frame["flag"].isna(), strict=True)
    ]
    assert flags == [one["flag"] for one in rows]
    assert [bool(one) for one in frame["reason"]] == [bool(one["reason"]) for one in rows]


def evaluated(path: Path, *overrides: str):
    with initialize_config_module("vje_ppl.configs", version_base="1.3"):
        return open_run(compose("evaluate", [f"run={path}", "device=cpu", "scores.pairs=1", *overrides]))


@pytest.mark.parametrize("name", ["joint", "evidence", "regret", "surprise_rank", "typicality"])
def test_scores_of_the_program_are_those_of_evaluate(name, folder):
    """`typicality` is fitted to every other image that the run kept, so that the rest can calibrate it."""
    opened = evaluated(folder / "runs/a", f"scores.only=[{name}]")
    halved = opened.calibration.select(np.arange(0, 434, 2)) if name == "typicality" else None
    opened = replace(opened, data=replace(opened.data, calibration=halved))
    _, found = scorer(opened)(opened.test)
    expected = {(one.kind.name, one.kind.views): one.values for one in found if one.kind.family == name}
    assert expected
    run = vje_ppl.load(folder / "runs/a")
    for (kind, views), values in expected.items():
        options = {"score": kind, "views": views, "scores": {"pairs": 1}}
        scored = run.score(digits().test.images, calibrate=False, **options)
        np.testing.assert_allclose(scored.score, values, rtol=1e-5, atol=1e-5)


def test_scores_of_a_run_with_rotations_do_not_depend_on_the_rotation(folder):
    run, images = vje_ppl.load(folder / "runs/turned"), digits().test.images[:100]
    plain, turned = (run.score(one, calibrate=False).score for one in (images, torch.rot90(images, 1, (2, 3))))
    np.testing.assert_allclose(turned, plain, rtol=1e-4)
    assert len(plain) == 100
    index, found = scorer(evaluated(folder / "runs/turned", "scores.only=[mahalanobis]"))(
        digits().test.select(np.arange(100))
    )
    known = {(one.kind.features, one.kind.views, one.kind.encoder): one.values for one in found}
    assert index.tolist() == list(range(100))
    np.testing.assert_allclose(known["z", "clean", "trained"], plain, rtol=1e-5)


def test_a_finished_command_says_so_and_other_settings_are_refused(folder, scored):
    written = (scored[1] / "scores.csv").stat().st_mtime_ns
    again = score(folder, f"images={folder / 'photos'}", f"alpha={ALPHA}", "batch_size=64")
    assert again.returncode == 0
    assert "finished already" in again.stdout
    assert scored[0].splitlines()[-2] in again.stdout  # the results
    assert (scored[1] / "scores.csv").stat().st_mtime_ns == written
    other = one_sentence(score(folder, f"images={folder / 'photos'}", "alpha=0.2"))
    assert f"(alpha: {ALPHA} -> 0.2); give another out, or resume=never" in other
    fewer = one_sentence(score(folder, f"images={folder / 'photos/sub'}", f"out={scored[1]}", f"alpha={ALPHA}"))
    assert "images: 361-" in fewer


def test_an_overwritten_image_of_the_same_size_is_another_image(folder, tmp_path):
    photos = tmp_path / "few"
    photos.mkdir()
    for number in range(40):
        shutil.copy(folder / f"photos/{number + 10:03}.png", photos)
    options = (f"images={photos}", f"out={tmp_path / 'out'}", "calibrate=false")
    assert score(folder, *options).returncode == 0
    changed = photos / "011.png"  # none of those whose content is looked at
    content = changed.read_bytes()
    changed.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refused = one_sentence(score(folder, *options))
    assert "holds scores with other settings (images: 40-" in refused
    assert score(folder, *options, "resume=never").returncode == 0


def test_an_interrupted_command_goes_on_to_the_same_table(folder, scored, tmp_path):
    options = ("batch_size=64", "score=conditional", "scores.pairs=2", f"images={folder / 'photos'}")
    assert score(folder, *options, f"out={tmp_path / 'whole'}").returncode == 0
    whole = (tmp_path / "whole/scores.csv").read_bytes()
    running = Command(tmp_path, "vje_ppl.score", f"run={folder / 'runs/a'}", *options, "out=cut", "device=cpu")
    partial, until = tmp_path / "cut/scores.partial.csv", time.monotonic() + 200
    while running.poll() is None and not (partial.exists() and partial.read_bytes().count(b"\n") > 64):
        assert time.monotonic() < until
        time.sleep(0.001)
    if running.poll() is None:
        running.send_signal(signal.SIGKILL)
    running.wait()
    if not partial.exists():  # it was faster
        shutil.copytree(tmp_path / "whole", tmp_path / "cut", dirs_exist_ok=True)
        summary = json.loads((tmp_path / "cut/summary.json").read_text(encoding="utf-8"))
        (tmp_path / "cut/summary.json").write_text(json.dumps(summary | {"finished": False}), encoding="utf-8")
        (tmp_path / "cut/scores.csv").rename(partial)
        partial.write_bytes(whole[: 2 * len(whole) // 3])
    result = score(folder, *options, f"out={tmp_path / 'cut'}")
    assert result.returncode == 0, result.stderr
    assert "continues after" in result.stdout
    assert (tmp_path / "cut/scores.csv").read_bytes() == whole
    assert not partial.exists()


@pytest.mark.slow
def test_two_processes_write_the_same_table(folder, scored, tmp_path):
    start = (sys.executable, "-m", "vje_ppl.score", f"run={folder / 'runs/a'}", f"images={folder / 'photos'}")
    options = ("score=conditional", "scores.pairs=1", "batch_size=64", "device=cpu")
    for devices in (1, 2):
        run_apart(tmp_path, *start, *options, f"devices={devices}", f"out={devices}")
    assert (tmp_path / "1/scores.csv").read_bytes() == (tmp_path / "2/scores.csv").read_bytes()


def test_without_calibration_images_there_is_a_way_on(folder):
    plain = f"run={folder / 'runs/plain'}"
    photos = f"images={folder / 'photos'}"
    refused = one_sentence(command(main, "vje_ppl.score", plain, photos, "device=cpu"))
    assert "train with calibration=0.1, give calibrate=<normal images" in refused
    alone = command(main, "vje_ppl.score", plain, photos, "calibrate=false", f"out={folder / 'alone'}", "workers=0")
    assert alone.returncode == 0, alone.stderr
    assert "no p-values" in alone.stdout
    assert not any(one["p_value"] or one["flag"] for one in table(folder / "alone"))
    few = folder / "few"
    few.mkdir()
    for number in range(4):
        shutil.copy(folder / "photos" / f"{number:03}.png", few)
    ranked = command(main, "vje_ppl.score", plain, photos, f"calibrate={few}", f"out={folder / 'ranked'}", "workers=0")
    assert ranked.returncode == 0, ranked.stderr
    assert "4 calibration images are too few for alpha=0.05" in ranked.stdout
    assert min(column(table(folder / "ranked"), "p_value")[:4]) >= 1 / 5


def test_mistakes_get_a_sentence(folder):
    photos = f"images={folder / 'photos'}"
    for overrides, words in {
        (): "give images=<folder, image, .txt list, .tar shards or .npy array>",
        (photos, "score=mahalonobis"): "did you mean mahalanobis?",
        (photos, "score=conditional/nowhere", "scores.samples=1", f"out={folder / 'x'}"): "none of the run's scores",
        (photos, "score=surprise"): "score=surprise needs method=vi_simsiam, lejepa or visreg",
        (photos, "score=uncertainty"): "score=uncertainty needs method=vi_simsiam",
        (photos, "score=joint", "views=augmented"): "or augmented-augmented, got augmented",
        (photos, "views=augmented-augmented"): "views of score=mahalanobis expects clean or augmented",
        (photos, "features=mean"): "features expects z or mu, got mean",
        (photos, "alpha=1"): "alpha expects a share between 0 and 1, got 1",
    }.items():
        assert words in one_sentence(score(folder, *overrides))
    nothing = one_sentence(command(main, "vje_ppl.score", photos))
    assert "give run=runs/<name>, or the folder of an export" in nothing
