"""Overrides: text stays as it was typed, and what cannot be read or does not apply gets one sentence that mends it.

Arguments are read, and configurations composed where it takes that; nothing is run.
"""

from __future__ import annotations

import logging
import shlex
import sys
from inspect import signature
from pathlib import Path

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, ListConfig, OmegaConf

from vje_ppl.errors import UserError
from vje_ppl.terminal.command import run_command
from vje_ppl.terminal.mistyped import read_arguments
from vje_ppl.terminal.text_keys import (
    LISTS,
    NAMES,
    NUMBERED,
    PATHS,
    defaults,
    groups,
    options,
    quoted,
    split,
    text_keys,
)
from vje_ppl.terminal.unknown_keys import OPEN


@pytest.fixture
def composed(tmp_path, monkeypatch, capfd):
    """Compose what a command line says; returns the configuration of each job, or the exit code and what was said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    for attribute in ("handlers", "propagate"):
        monkeypatch.setattr(logging.getLogger("vje_ppl"), attribute, getattr(logging.getLogger("vje_ppl"), attribute))

    def run(command: str, *arguments: str) -> tuple[list[DictConfig], str]:
        configs: list[DictConfig] = []
        monkeypatch.setattr(sys, "argv", [f"vje_ppl.{command}", *arguments])
        GlobalHydra.instance().clear()
        with pytest.raises(SystemExit) as left:
            run_command(lambda config: configs.append(config.copy()), command)
        said = capfd.readouterr()
        assert "Traceback" not in said.err
        assert bool(left.value.code) == bool(said.err), said.err
        return configs, said.err

    return run


def values(command: str, *arguments: str) -> list[object]:
    """What Hydra makes of the last argument, for each job of a sweep."""
    ready = read_arguments(arguments, command)[-1]
    parser = OverridesParser.create()
    read = parser.parse_override(ready)
    if not read.is_sweep_override():
        return [read.value()]
    return [parser.parse_override(f"key={one}").value() for one in read.sweep_string_iterator()]


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        *[(one, one) for one in ("20240101", "1e5", "12e5", "0123456", "007", "1_000", "2024-01-01", "0x1F", "1e400")],
        *[(one, one) for one in ("-5", "+5", ".5", "1.50", "nan", "inf", "true", "False", "yes", "None", "off")],
        *[(one, one) for one in ("[x]", "[1,2]", "{x}", "(1)", "a(1)", "a=b", "a:b", "it's", "a#b", "größe", "日本語")],
        *[(one, one) for one in ("a b", "'a", "$x", "%j", "a/b", "a;b", "a&b", "~x", "a\\b")],
        ("'1e5'", "1e5"),
        ('"a,b"', "a,b"),
        ("a\\,b", "a,b"),
        ("a\\=b", "a=b"),
        ("vje-${seed}", "vje-${seed}"),
        ("null", None),
    ],
)
def test_a_name_is_what_was_typed(argument, text):
    assert values("train", f"run.name={argument}") == [text]


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("1,2", ["1", "2"]),
        ("007, 1_000 ,1e5", ["007", "1_000", "1e5"]),
        ("choice(1_0,2e5)", ["1_0", "2e5"]),
        ("'a,b',c", ["a,b", "c"]),
        ("[a,b],x=1", ["[a,b]", "x=1"]),
        ("2024-01-01", ["2024-01-01"]),
    ],
)
def test_names_can_be_swept_over(typed, names):
    assert values("train", "-m", f"run.name={typed}") == names


@pytest.mark.parametrize("typed", ["1,1_0,1e5", "range(1,4)", "${seed},007"])
def test_a_sweep_over_names_has_texts(composed, typed):
    configs, _ = composed("train", "-m", f"run.name={typed}")
    names = {"1,1_0,1e5": ["1", "1_0", "1e5"], "range(1,4)": ["1", "2", "3"], "${seed},007": ["0", "007"]}
    assert [config.run.name for config in configs] == names[typed]


@pytest.mark.parametrize(
    ("command", "overrides", "key", "value"),
    [
        ("train", ["data=image_folder", "data.root=d/run=1"], "data.root", "d/run=1"),
        ("train", ["data=image_folder", "data.root=~/photos"], "data.root", "/home/me/photos"),
        ("train", ["data=image_folder", "data.root=C:\\my photos (1)"], "data.root", "C:\\my photos (1)"),
        ("train", ["data=hf_dataset", "data.train=2020"], "data.train", "2020"),
        ("train", ["data=webdataset", "data.test=val-{000..146}.tar"], "data.test", "val-{000..146}.tar"),
        ("train", ["data.only_class=1e5"], "data.only_class", "1e5"),
        ("train", ["data.only_class=7"], "data.only_class", 7),
        ("train", ["run.root=1e5"], "run.root", "1e5"),
        ("train", ["resume=~/runs/1"], "resume", "/home/me/runs/1"),
        ("train", ["logger=wandb", "logger.project=2024"], "logger.project", "2024"),
        ("train", ["logger=wandb", "+logger.entity=12e5"], "logger.entity", "12e5"),
        ("train", ["logger=tensorboard", "run.root=~/x"], "logger.root_dir", "/home/me/x"),
        ("evaluate", ["run=2025"], "run", "2025"),
        ("evaluate", ["run=~/a", "ood.root=~"], "ood.root", "/home/me"),
        ("evaluate", ["run=a", "one_class.classes=[0,1_0,cat]"], "one_class.classes", [0, "1_0", "cat"]),
        ("diagnose", ["run=1_000", "out=2026"], "out", "2026"),
        ("export", ["run=1e5", "out=~/o=1"], "out", "/home/me/o=1"),
        ("crosscheck", ["run=12e5", "output=7", "picture=~/p.png"], "picture", "/home/me/p.png"),
        ("reproduce", ["root=2026", "cells=1e5", "out=007"], "cells", "1e5"),
        ("benchmark", ["output=2026"], "output", "2026"),
        ("compare", ["runs=2025", "out=2026"], "runs", "2025"),
        ("compare", ["runs=[2025,1e5,~/a,b c]"], "runs", ["2025", "1e5", "/home/me/a", "b c"]),
    ],
)
def test_text_of_every_command(composed, command, overrides, key, value):
    ((config,), _) = composed(command, *overrides)
    found = OmegaConf.select(config, key)
    assert (list(found) if isinstance(found, ListConfig) else found) == value


#: Words that take a word from a list that the command prints where it is none of it.
CHOICES = {
    *("norm", "scale", "seeds", "case", "device", "jax_device", "jobs", "threads", "devices", "precision", "figure"),
    *("table", "on_error", "split", "train_split", "arch", "stem", "features", "progress", "scaling", "rank.images"),
}


@pytest.mark.parametrize("command", sorted(PATHS))
def test_every_text_of_a_command_is_known(command):
    def texts(config, prefix=""):
        for key in config:
            value = config._get_node(key)
            if isinstance(value, DictConfig) and not value._is_none():
                if f"{prefix}{key}" not in OPEN:
                    yield from texts(value, f"{prefix}{key}.")
            elif isinstance(value._value(), str):
                yield f"{prefix}{key}"

    own = {one for one in texts(defaults(command)) if not one.startswith(("hydra", "defaults"))}
    choices = CHOICES | ({"resume"} if command in ("evaluate", "score") else set())
    assert own - choices <= text_keys(command)


@pytest.mark.parametrize("group", sorted(groups() & {"data", "encoder"}))
def test_every_text_of_a_part_is_known(group):
    for option in options(group).values():
        if "_target_" not in option or OmegaConf.is_missing(option, "_target_"):
            continue
        for name, parameter in signature(hydra.utils.get_object(option._target_)).parameters.items():
            if "str" in str(parameter.annotation) and name not in CHOICES:
                assert f"{group}.{name}" in text_keys("train")


def test_keys_of_lists_and_numbers_are_text_keys():
    every = {key for command in PATHS for key in text_keys(command)}
    assert every >= LISTS | NUMBERED
    assert set(NAMES) <= set(PATHS)


@pytest.mark.parametrize("text", ["a", "it's", "\\", "a\\", "a\\'b", "", "'", "a'b\\'"])
def test_quotes_are_read_back(text):
    assert values("train", f"run.name={quoted(text)}") == [text]
    assert split(f"{quoted(text)},b") == [quoted(text), "b"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train seed=0,1,2", 'seed=0,1,2 gives several values; type -m seed=0,1,2 to run with each in turn, or "seed='),
        ("train 'seed=range(0,3)'", 'gives several values; type -m "seed=range(0,3)" to run with each in turn.'),
        ("train run.name=a,b", "or \"run.name='a,b'\" for text."),
        ("evaluate run=a eval=knn,linear", '"eval=[knn,linear]" for a list.'),
        ("compare runs=a,b", 'type "runs=[a,b]" for a list'),
        ("diagnose run=1,2", "run=1,2 gives several values; type \"run='1,2'\" for text."),
        (
            "train optimizer.lr=1e-3=2",
            "optimizer.lr=1e-3=2 cannot be read, because of '=' in its value; for text, type",
        ),
        ("train seed==3", "type seed=3."),
        ("train 'seed=1;2'", "because of ';' in its value"),
        ("train seed=é", "because of 'é' in its value"),
        ("train 'seed=[1'", "seed=[1 has a bracket that it opens but does not close"),
        ("train 'seed=1)'", "has a bracket that it does not open"),
        ("train 'seed=\"1'", "opens a quote that it does not close"),
        ("train 'seed=twice(1)'", "there is no function twice"),
        ("evaluate run=a 'ood.data=[{name: cifar10, root: ~/x}]'", "because of '~' in its value; put text inside"),
        ("train seed", "'seed' is not of the form key=value; type seed=<value>."),
        ("train seed:3", "type seed=3."),
        ("train 'seed =3'", "has space around its key; type seed=3."),
        ("train =3", "'=3' has no key; type key=value."),
        ("train 1seed=3", "'1seed' where a key should be"),
        ("train trainer..epochs=3", "'trainer..epochs' where a key should be"),
        ("train ''", "an argument is empty"),
        ("train seed=", "seed= has no value; type seed=<value>"),
        ("train run.name=", "run.name= has no value"),
        ("train $'seed=1\\n'", "line break or another control character; type seed=1."),
        ("train $'run.name=a\\n'", "line break or another control character; type run.name=a."),
        ("train --seed=3", "--seed=3 is not an option of this command; keys have no dashes: type seed=3."),
        ("train seed=1 -m norm=group", "type options such as -m before all keys"),
        ("train --config-name", "--config-name/-cn: expected one argument"),
        ("train encoder=null", "encoder=null chooses no option"),
    ],
)
def test_what_cannot_be_read_gets_one_sentence_that_mends_it(line, said):
    command, *arguments = shlex.split(line.replace("$'", "'").replace("\\n", "\n"))
    with pytest.raises(UserError) as caught:
        read_arguments(arguments, command)
    sentence = str(caught.value)
    assert said in sentence
    assert len(sentence.splitlines()) == 1
    assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train --config-name=nope", "leave out --config-name"),
        ("train --config-name=evaluate", "norm is missing from the configuration"),
        ("train sed=3", "Could not override 'sed': there is no such key; did you mean seed?"),
        ("train trainer.epoch=3", "did you mean epochs?"),
        ("train seed.x=3", "seed has no keys."),
        ("train data.root=x", "It belongs to data=arrays|cifar10|cifar100|"),
        ("train logger=wandb logger.entity=me", "To add it, type +logger.entity=me."),
        ("train +seed=3", "+seed=3 adds seed, which already exists; type seed=3."),
        ("train +encoder=mlp", "type encoder=mlp."),
        ("train +experiment=cifar10_small", "type experiment=cifar10_small."),
        ("train +sed=3", "+sed=3 adds an unknown key; did you mean seed?"),
        ("train ++trainer.epoch=3", "++trainer.epoch=3 adds an unknown key; did you mean epochs?"),
        ("train +logger.project=x", "adds an unknown key"),
        ("evaluate run=a +imgaes.test=3", "did you mean images?"),
        ("train ~seed", "seed is missing from the configuration, but the command needs it"),
        ("train ~sed", "'sed' does not exist"),
        ("train ~seed=5", "The value of 'seed' is 0 and not 5"),
        ("train run=foo", "run is a group of keys and takes no value; set its keys, such as run.root=..."),
        (
            "evaluate run=a images=5",
            "images is a group of keys and takes no value; set its keys, such as images.bank=...",
        ),
        ("train trainer=5", "Could not find 'trainer/5'; the options are default."),
        ("train encoder=mpl", "did you mean mlp?"),
        ("train encoder@x=mlp", "type encoder=... without @."),
        ("evaluate run=a data=digits", "evaluate has no such group; leave it out."),
        (
            "train likelihood/direction=factorized",
            "the chosen likelihood has no part direction; add likelihood=polar_student_t, or leave it out.",
        ),
        ("train \"run.name=' '\"", "run.name is empty; give it a value"),
        ("train run.root=null", "run.root expects text, got null"),
        ("train 'run.name=${nope}'", "run.name refers to ${nope}, but there is no such key"),
        ("train data=cifar10 'data.root=${HOME}/x'", "type ${oc.env:HOME}."),
        ("train 'run.name=${seed'", "type ${key}."),
    ],
)
def test_what_does_not_apply_gets_one_sentence_that_mends_it(composed, line, said):
    configs, errors = composed(*shlex.split(line))
    assert not configs
    (sentence,) = errors.splitlines()
    assert sentence.startswith("error: ")
    assert said in sentence
    assert sentence.endswith((".", "?"))


@pytest.mark.parametrize(
    "line",
    [
        "train ++trainer.epochs=3",
        "train +width=64 'encoder.width=${width}'",
        "train likelihood=custom +likelihood.key=3",
        "train 'trainer={epochs:3}'",
        "train experiment=cifar10_small",
        "reproduce figure=2 '+sources.mine={data: image_folder}'",
        "reproduce figure=2 +train.trainer.epochs=2",
        "diagnose '+uncertainty.corruptions.mine={_target_: a.B}'",
        "compare 'runs=runs/digits-*'",
    ],
)
def test_what_is_right_composes(composed, line):
    configs, errors = composed(*shlex.split(line))
    assert len(configs) == 1, errors


def test_a_home_directory_inside_other_data(monkeypatch):
    from vje_ppl.features.other_data import other_config

    monkeypatch.setenv("HOME", "/home/me")
    assert other_config({"name": "cifar10", "root": "~/x"}, None)["root"] == "/home/me/x"
    assert Path(other_config("cifar10", "~")["root"]) == Path("/home/me")
