"""Classes that are left out of all images, and come back as another data set to be told apart."""

from __future__ import annotations

import pytest
import torch
from omegaconf import OmegaConf

from tests.helpers.cases import composed
from tests.helpers.commands import command, evaluate, one_sentence, report, train_in
from vje_ppl.compare.__main__ import main as compare
from vje_ppl.data.fingerprint import digest
from vje_ppl.data.image_set import InMemoryImages
from vje_ppl.data.loaders.digits import digits
from vje_ppl.data.selection import only_classes, without_classes
from vje_ppl.errors import UserError
from vje_ppl.evaluate.__main__ import main
from vje_ppl.settings.data import load_data, load_left_out
from vje_ppl.settings.identity import config_digest


def test_every_image_is_on_one_side():
    whole, rest = digits(), load_data(composed("without_class=[3,8]"))
    left_out = load_left_out(composed("without_class=[3,8]"))
    assert rest.bank is rest.train
    for before, after in ((whole.train, rest.train), (whole.test, rest.test)):
        keep = (before.labels != 3) & (before.labels != 8)
        assert torch.equal(after.images, before.images[keep])
        assert torch.equal(after.labels, before.labels[keep])
        assert after.classes == before.classes
    assert set(left_out.labels.tolist()) == {3, 8}
    assert len(left_out) + len(rest.test) == len(whole.test)


def test_nothing_left_out_is_the_data_set_itself_and_an_older_run_keeps_its_name():
    assert digest(load_data(composed()).train) == digest(digits().train)
    config, other = (OmegaConf.to_container(composed(*one), resolve=True) for one in ((), ("without_class=[3]",)))
    older = {key: value for key, value in config.items() if key != "without_class"}
    assert config_digest(older) == config_digest(config) != config_digest(other)


def test_it_goes_with_held_out_images():
    data = load_data(composed("without_class=3", "hold_out=0.25"))
    assert 3 not in data.train.labels.tolist() + data.test.labels.tolist()


def test_mistakes_get_a_sentence():
    data, images = digits(), digits().train
    with pytest.raises(UserError, match=r"without_class expects one of the 10 classes.*got 11"):
        without_classes(data, ["11"])
    with pytest.raises(UserError, match=r"without_class=\[0,1,2,3,4,5,6,7,8,9\] leaves none of the .* images"):
        without_classes(data, list(range(10)))
    with pytest.raises(UserError, match="needs labelled images"):
        only_classes(InMemoryImages(images.images), [3])


def test_left_out_classes_are_scored_as_another_data_set(tmp_path):
    train_in(tmp_path, "run.name=a", "without_class=[3]", "data.subset=400")
    result = evaluate(f"run={tmp_path / 'a'}", "eval=ood", "ood.data=[left_out]", "images.test=100")
    assert result.returncode == 0, result.stderr
    rows = report(tmp_path / "a")["ood"]["rows"]
    assert {row["out"] for row in rows} == {"left_out"}
    assert all(0 <= row["auroc"] <= 1 for row in rows)
    assert (tmp_path / "a" / "ood_left_out.png").exists()


def test_models_of_one_class_are_those_of_the_other_classes(tmp_path):
    train_in(tmp_path, "run.name=a", "without_class=[0,1,2,3,4,5,6]", "data.subset=400")
    result = evaluate(f"run={tmp_path / 'a'}", "eval=one_class", "one_class.classes=null", "images.test=60")
    assert result.returncode == 0, result.stderr
    assert "leaves out the images of 0, 1, 2, 3, 4, 5, 6" in result.stdout
    assert {row["class"] for row in report(tmp_path / "a")["one_class"]["rows"]} == {"7", "8", "9", "mean"}
    models = sorted((tmp_path / "a" / "one_class").iterdir())
    asked = one_sentence(evaluate(f"run={tmp_path / 'a'}", "eval=one_class", "one_class.classes=[7,3]", "resume=never"))
    assert "data.only_class=3 leaves none" in asked
    assert sorted((tmp_path / "a" / "one_class").iterdir()) == models  # refused before any training


def test_runs_of_other_classes_are_compared_as_runs_of_other_images(tmp_path):
    for name, left_out in (("a", "[]"), ("b", "[3]")):
        train_in(tmp_path, f"run.name={name}", f"without_class={left_out}", "data.subset=256", "trainer.epochs=1")
    result = command(compare, "vje_ppl.compare", f"runs={tmp_path}")
    assert result.returncode == 0, result.stderr
    assert "without_class" in result.stdout
    assert "No ELBO is shown" in result.stdout


def test_a_run_of_all_classes_has_none_left_out(tmp_path):
    train_in(tmp_path, "run.name=a", "data.subset=256", "trainer.epochs=1")
    result = command(main, "vje_ppl.evaluate", f"run={tmp_path / 'a'}", "eval=ood", "ood.data=left_out")
    assert "train a run with without_class" in one_sentence(result)
