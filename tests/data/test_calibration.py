"""Training images that are kept to calibrate scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from tests.helpers.cases import composed
from vje_ppl.data.fingerprint import differences, digest, fingerprint
from vje_ppl.data.hold_out import keep_for_calibration
from vje_ppl.data.image_set import ImageData, InMemoryImages
from vje_ppl.data.loaders.digits import digits
from vje_ppl.errors import UserError
from vje_ppl.settings.data import load_data
from vje_ppl.settings.identity import config_digest


def rows(*parts: InMemoryImages) -> set[bytes]:
    return {image.numpy().tobytes() for images in parts for image in images.images}


def names(images) -> set[str]:
    return {str(file) for file in images.files}


def write(folder, count, first=0):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number}.png")


def test_every_training_image_is_on_one_side_and_the_test_images_stay():
    whole, split = digits(), load_data(composed("calibration=0.25"))
    assert split.bank is split.train
    assert rows(split.train, split.calibration) == rows(whole.train)
    assert not rows(split.train) & rows(split.calibration)
    assert torch.equal(split.test.images, whole.test.images)
    share = split.calibration.labels.bincount() / whole.train.labels.bincount()
    assert (share - 0.25).abs().max() < 0.5 / whole.train.labels.bincount().min() + 1e-6


def test_none_is_kept_by_default_and_an_older_run_keeps_its_name():
    assert load_data(composed()).calibration is None
    config, other = (OmegaConf.to_container(composed(*one), resolve=True) for one in ((), ("calibration=0.1",)))
    older = {key: value for key, value in config.items() if key != "calibration"}
    assert config_digest(older) == config_digest(config) != config_digest(other)


def test_held_out_images_and_those_for_calibration_are_disjoint():
    whole, split = digits(), load_data(composed("calibration=0.2", "hold_out=0.2"))
    parts = [rows(part) for part in (split.train, split.test, split.calibration)]
    assert set.union(*parts) == rows(whole.train)
    assert sum(map(len, parts)) == len(whole.train)
    assert torch.equal(split.test.images, load_data(composed("hold_out=0.2")).test.images)


@pytest.mark.parametrize(
    ("overrides", "is_kept"),
    [
        (("data.only_class=3",), lambda labels: labels == 3),
        (("without_class=[3,8]",), lambda labels: (labels != 3) & (labels != 8)),
    ],
    ids=["only", "without"],
)
def test_the_choice_in_a_class_does_not_depend_on_other_classes(overrides, is_kept):
    whole, part = load_data(composed("calibration=0.2")), load_data(composed("calibration=0.2", *overrides))
    for before, after in ((whole.train, part.train), (whole.calibration, part.calibration)):
        assert torch.equal(after.images, before.images[is_kept(before.labels)])


def test_it_goes_with_a_subset():
    split = load_data(composed("calibration=0.2", "data.subset=100"))
    assert rows(split.train, split.calibration) == rows(load_data(composed("data.subset=100")).train)


def test_images_with_names_stay_on_their_side_when_others_come_and_labels_are_not_needed(tmp_path):
    def load(*more):
        return load_data(composed("data=image_folder", f"data.root={tmp_path}", "calibration=0.4", *more))

    write(tmp_path, 20)
    few = load()
    assert few.train.labels is None
    assert len(few.train) + len(few.calibration) == 20
    write(tmp_path, 20, first=20)
    many = load()
    for part in ("train", "calibration"):
        assert names(getattr(few, part)) < names(getattr(many, part))


def test_an_inspection_set_keeps_good_images(tmp_path):
    write(tmp_path / "train" / "good", 20)
    for name in ("good", "broken"):
        write(tmp_path / "test" / name, 3)
    split = load_data(composed("data=image_folder", f"data.root={tmp_path}", "calibration=0.3"))
    assert len(split.train) + len(split.calibration) == 20
    assert len(split.test) == 6
    assert set(split.calibration.labels.tolist()) == set(split.train.labels.tolist())


def test_images_without_a_label_are_a_class_of_their_own():
    labels = torch.tensor([0] * 10 + [1] * 10 + [-1] * 10)
    images = InMemoryImages(torch.arange(30, dtype=torch.uint8).view(30, 1, 1, 1), labels, ("a", "b"))
    bank = images.select(np.arange(20))
    split = keep_for_calibration(ImageData("mine", images, bank, None, 1, 1, 2), 0.2)
    assert split.calibration.labels.tolist() == [0, 0, 1, 1, -1, -1]
    assert rows(split.bank) == rows(split.train.select(np.flatnonzero(split.train.labels >= 0)))


def test_the_fingerprint_records_them():
    data = load_data(composed("calibration=0.1"))
    known = fingerprint(data)
    assert known["calibration"] == digest(data.calibration)
    assert "calibration" not in fingerprint(digits())
    other = load_data(composed("calibration=0.2"))
    assert any(
        line.startswith("calibration images: 143") for line in differences(known, fingerprint(other), None, None)
    )


@pytest.mark.parametrize("fraction", [1, -0.1, True, "half"])
def test_a_share_that_is_none_gets_a_sentence(fraction):
    with pytest.raises(UserError, match=f"calibration expects a share .* got {fraction}"):
        load_data(composed(f"calibration={fraction}"))


def test_too_few_images_get_a_sentence():
    images = InMemoryImages(torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1]), ("a", "b"))
    with pytest.raises(UserError, match=r"calibration=0\.5 keeps an image of each class .* give calibration=0"):
        keep_for_calibration(ImageData("mine", images, images, None, 1, 2, 2), 0.5)
