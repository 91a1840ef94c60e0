import json

import pytest
from omegaconf import OmegaConf

from tests.helpers.cases import composed
from vje_ppl.settings.identity import (
    ADDED,
    MOVED,
    WITHOUT_EFFECT,
    canonical_json,
    config_differences,
    config_digest,
    default_name,
    with_effect,
)

CONFIG = {
    "run": {"name": None, "root": "runs/"},
    "seed": 0,
    "resume": "auto",
    "debug": False,
    "batch_size": 256,
    "data": {"_target_": "vje_ppl.data.digits", "root": None, "download": False, "workers": 2, "subset": None},
    "encoder": {"width": 16},
    "optimizer": {"lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8},
    "trainer": {"device": "auto", "devices": 1, "num_nodes": 1, "epochs": 30, "progress": True, "checkpoint_every": 0},
    "logger": {},
}


def changed(key, value):
    config = OmegaConf.create(CONFIG)
    OmegaConf.update(config, key, value, force_add=True)
    return OmegaConf.to_container(config)


@pytest.mark.parametrize(
    "key",
    [
        "run.name",
        "run.root",
        "resume",
        "debug",
        "logger._target_",
        "rank.images",
        "data.root",
        "data.download",
        "data.workers",
        "trainer.device",
        "trainer.devices",
        "trainer.num_nodes",
        "trainer.accumulate",
        "trainer.progress",
        "trainer.checkpoint_every",
        "trainer.on_nonfinite",
    ],
)
def test_what_does_not_change_the_result_does_not_count(key):
    assert any(key == name or key.startswith(f"{name}.") for name in WITHOUT_EFFECT)
    assert config_digest(changed(key, "other")) == config_digest(CONFIG)
    assert config_differences(CONFIG, changed(key, "other")) == []


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("optimizer.lr", 3e-3, "optimizer.lr: 0.001 -> 0.003"),
        ("optimizer.betas", [0.9, 0.95], "optimizer.betas: [0.9, 0.999] -> [0.9, 0.95]"),
        ("data.subset", 500, "data.subset: null -> 500"),
        ("data._target_", "my.data", "data._target_: vje_ppl.data.digits -> my.data"),
        ("seed", False, "seed: 0 -> false"),
        ("prior.scale", 2.0, "prior.scale: (absent) -> 2.0"),
        ("trainer.epochs", 31, "trainer.epochs: 30 -> 31"),
        ("optimizer.root", "x", "optimizer.root: (absent) -> x"),
    ],
)
def test_what_changes_the_result_is_listed(key, value, line):
    other = changed(key, value)

    assert config_differences(CONFIG, other) == [line]
    was, is_now = line.removeprefix(f"{key}: ").split(" -> ")
    assert config_differences(other, CONFIG) == [f"{key}: {is_now} -> {was}"]
    assert config_digest(other) != config_digest(CONFIG)


def test_digest_is_of_values_not_of_their_order_or_spelling():
    turned = {key: CONFIG[key] for key in reversed(CONFIG)}
    respelled = changed("batch_size", 256.0) | {"optimizer": {"lr": 0.001, "betas": (0.9, 0.999), "eps": 1e-8}}

    assert config_digest(turned) == config_digest(respelled) == config_digest(CONFIG)
    assert config_differences(CONFIG, respelled) == []
    assert config_digest({"a": 1}) == "015abd7f", "the same on every machine and in every version"


def test_default_name_is_readable_and_tells_configurations_apart():
    name = default_name(CONFIG, "paper/digits")

    assert name == f"paper-digits-{config_digest(CONFIG)}"
    assert name != default_name(changed("seed", 1), "paper/digits")


@pytest.mark.parametrize("key", ADDED)
def test_a_key_that_came_later_counts_only_where_it_does_something(key):
    without = changed("seed", 1)
    neutral, other = without | {}, without | {}
    for config, value in ((neutral, ADDED[key]), (other, "other")):
        config |= OmegaConf.to_container(
            OmegaConf.merge(config, OmegaConf.from_dotlist([f"{key}={json.dumps(value)}"]))
        )

    assert config_digest(neutral) == config_digest(without) != config_digest(other)
    assert config_differences(without, neutral) == []
    assert config_differences(without, other) == [f"{key}: (absent) -> other"]


@pytest.mark.parametrize("key", ADDED)
def test_a_key_that_came_later_does_nothing_by_default(key):
    assert OmegaConf.select(composed(), key) == ADDED[key]


def test_a_part_that_has_moved_is_the_same_part(monkeypatch):
    monkeypatch.setitem(MOVED, "old.place", "new.house")
    places = ("old.place", "new.house")
    was, now = ({"_target_": f"{place}.Part", "inner": [{"_target_": f"{place}.Other"}]} for place in places)
    before, after = changed("encoder", was), changed("encoder", now)

    assert config_digest(before) == config_digest(after)
    assert '"old.place.Part"' in canonical_json(after), "which is what the first runs were named by"
    assert config_differences(before, after) == []
    assert with_effect(before)["encoder"]["_target_"] == "new.house.Part"
    elsewhere = changed("encoder", {"_target_": "new.housemate.Part", "inner": was["inner"]})
    assert config_differences(before, elsewhere) == ["encoder._target_: new.house.Part -> new.housemate.Part"]
