"""A run whose images are files: scores after they were renamed, other files among them, and broken files."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from PIL import Image

import vje_ppl
from tests.export.test_command import unchecked_shapes
from tests.helpers.commands import SMALL, command, one_sentence
from vje_ppl.data.loaders.digits import digits
from vje_ppl.errors import UserError
from vje_ppl.export.__main__ import main as export_main
from vje_ppl.program.parameter_store import local_parameters
from vje_ppl.score.given import given
from vje_ppl.score.prepared import prepare
from vje_ppl.score.setting import ScoreSetting, score_setting
from vje_ppl.train.__main__ import main as train_main


def draw(folder, images, kind="L", first=0):
    folder.mkdir(parents=True)
    for number, image in enumerate(images.numpy(), first):
        Image.fromarray(image[0]).convert(kind).save(folder / f"{number:03}.png")


@pytest.fixture
def root(tmp_path):
    """A run on 80 digits as files, of which some calibrate scores."""
    draw(tmp_path / "photos", digits().train.images[:80])
    small = [one for one in SMALL if not one.startswith("data.subset")]
    options = (*small, "encoder=mlp", "augment=digits", "data=image_folder", f"data.root={tmp_path / 'photos'}")
    more = ("data.channels=1", "batch_size=16", "calibration=0.3", f"run.root={tmp_path}", "run.name=a")
    made = command(train_main, "vje_ppl.train", *options, *more)
    assert made.returncode == 0, made.stderr
    return tmp_path


def setting(name) -> ScoreSetting:
    with initialize_config_module("vje_ppl.configs", version_base="1.3"):
        return score_setting(compose("score", [f"score={name}"]))


def gaussians(root):
    return list((root / "a/calibration").glob("gaussian-*"))


def test_statistics_of_other_training_images_are_not_kept(root):
    images = digits().test.images[:20]
    photos, away = root / "photos", root / "photos.away"
    shutil.copytree(photos, away)
    (photos / "000.png").rename(photos / "renamed.png")
    Image.new("L", (8, 8), 255).save(photos / "added.png")
    run = vje_ppl.load(root / "a")
    other = run.score(images, calibrate=False).score
    assert not gaussians(root)
    with unchecked_shapes(), pytest.warns(UserWarning, match="These are not the images that the run was trained"):
        refused = one_sentence(command(export_main, "vje_ppl.export", f"run={root / 'a'}"))
    assert "have changed since its training" in refused
    shutil.rmtree(photos)
    away.rename(photos)
    own = run.score(images, calibrate=False).score
    assert len(gaussians(root)) == 1
    assert not np.allclose(own, other)
    shutil.rmtree(photos)
    np.testing.assert_array_equal(run.score(images, calibrate=False).score, own)  # of what is stored


def test_sixteen_bits_that_are_not_filled_are_read_with_a_warning(root, caplog):
    twelve = root / "twelve"
    twelve.mkdir()
    for number, image in enumerate(digits().test.images[:4].numpy()):
        Image.fromarray(image[0].astype(np.uint16) * 16).save(twelve / f"{number}.png")
    found = vje_ppl.load(root / "a").score(twelve, calibrate=False)
    assert np.isfinite(found.score).all()
    assert "of 65535 in the 4 that were checked and are read as dark" in caplog.text
    assert "if their values have 12 bits, multiply them by 16, or train with data.bits=12" in caplog.text


def test_typicality_is_fitted_to_the_images_that_can_be_read(root):
    broken, mixed = root / "a_broken", root / "mixed"
    broken.mkdir()
    for number in range(64):  # a block of its own
        (broken / f"{number:02}.png").write_bytes(b"no image")
    shutil.copytree(broken, mixed)
    draw(mixed / "good", digits().test.images[:20])
    run = vje_ppl.load(root / "a")
    with local_parameters(validate=False):
        ready = prepare(run, run.path, setting("typicality"), calibrate=False, workers=0)
        sources = {folder: ready.source(given(folder, run, 0).images) for folder in (broken, mixed)}
        with pytest.raises(UserError, match="None of the 64 images that score=typicality is fitted to can be read"):
            ready.scorer.fit_typicality(sources[broken])
        ready.scorer.fit_typicality(sources[mixed])
        found = [chunk.scores for chunk in ready.scorer.score(sources[mixed])]
    assert np.isnan(np.concatenate(found)).sum() == 64
    with pytest.raises(UserError, match="None of the 64 calibration images of a_broken has a score"):
        run.score(mixed, calibrate=broken)
