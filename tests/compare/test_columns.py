"""Which keys become columns, and under what names."""

from __future__ import annotations

import pytest

from vje_ppl.compare.columns import differences

STUDENT = {
    "likelihood._target_": "m.polar.PolarStudentT",
    "likelihood.df": 1.0,
    "likelihood.radius._target_": "m.radius.StudentTRadius",
    "likelihood.radius.df": 1.0,
    "likelihood.radius.learn_df": False,
}
NORMAL = {"likelihood._target_": "m.polar.PolarNormal", "likelihood.radius._target_": "m.radius.NormalRadius"}
NO_RADIUS = {key: value for key, value in STUDENT.items() if not key.startswith("likelihood.radius.")} | {
    "likelihood.radius._target_": "m.radius.NoRadius"
}


def cells(*rows, taken=()):
    return {column.name: list(column.cells) for column in differences(rows, taken)}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([{"a.x": 1}, {"a.x": 1.0}], {}, id="the same, spelled otherwise"),
        pytest.param([{"a.x": 1}], {}, id="one row"),
        pytest.param([{"a.lr": 1e-3}, {"a.lr": 0.03}], {"lr": ["0.001", "0.03"]}, id="a number"),
        pytest.param([{"a.x": True}, {"a.x": None}], {"x": ["true", "null"]}, id="yes and none"),
        pytest.param([{"a.x": [1, 2.5]}, {"a.x": "b"}], {"x": ["[1, 2.5]", "b"]}, id="a list and a word"),
        pytest.param([{"a.x": 1}, {"a.x": "1"}], {"x": ["1", "1"]}, id="a number and its digits are two values"),
        pytest.param([{"p._target_": "m.A"}, {"p._target_": "m.B"}], {"p": ["A", "B"]}, id="a part by its class"),
        pytest.param([{"p._target_": "m.A"}, {"p._target_": "n.A"}], {"p": ["m.A", "n.A"]}, id="two of one name"),
        pytest.param(
            [{"a.x": 1}, {"a.x": 1, "a.kappa": 2}], {"kappa": [None, "2"]}, id="a key that only one row was given"
        ),
        pytest.param(
            [STUDENT, NORMAL],
            {"likelihood": ["PolarStudentT", "PolarNormal"], "radius": ["StudentTRadius", "NormalRadius"]},
            id="what only one class has follows from the class",
        ),
        pytest.param(
            [STUDENT, NO_RADIUS], {"radius": ["StudentTRadius", "NoRadius"]}, id="and so below a part of a part"
        ),
        pytest.param(
            [{"a.x": 1, "b.x": 0}, {"a.x": 2, "b.x": 0}], {"a.x": ["1", "2"]}, id="a short name must mean one key"
        ),
        pytest.param(
            [{"norm": 1, "b.norm": 0}, {"norm": 2, "b.norm": 3}],
            {"norm": ["1", "2"], "b.norm": ["0", "3"]},
            id="a key without a group keeps its name",
        ),
        pytest.param(
            [{"a.x": 1, "a.y": 3, "b.z": 5}, {"a.x": 2, "a.y": 4, "b.z": 6}],
            {"x": ["1", "2"], "y": ["3", "4"], "z": ["5", "6"]},
            id="changed together, yet each is told",
        ),
    ],
)
def test_columns_tell_what_differs(rows, expected):
    assert cells(*rows) == expected


def test_keys_that_end_alike_and_agree_in_every_row_are_one_column():
    fives = STUDENT | {"likelihood.df": 5.0, "likelihood.radius.df": 5.0}
    assert cells(STUDENT, fives) == {"df": ["1", "5"]}
    assert cells(STUDENT, fives, NO_RADIUS) == {
        "likelihood.df": ["1", "5", "1"],
        "radius": ["StudentTRadius", "StudentTRadius", "NoRadius"],
        "radius.df": ["1", "5", None],
    }
    assert cells({"norm": 1, "encoder.norm": 1}, {"norm": 2, "encoder.norm": 2}) == {"norm": ["1", "2"]}


def test_keys_that_are_not_equal_everywhere_are_both_told():
    rows = [STUDENT, STUDENT | {"likelihood.radius.df": 5.0}, STUDENT | {"likelihood.df": 3.0}]
    assert cells(*rows) == {"likelihood.df": ["1", "1", "3"], "radius.df": ["1", "5", "1"]}


def test_names_of_other_columns_are_not_taken():
    assert cells({"a.seconds": 1}, {"a.seconds": 2}, taken=["seconds"]) == {"a.seconds": ["1", "2"]}


def test_an_augmentation_that_follows_from_the_data_set_is_left_out():
    rows = [{"data": "digits", "augment.p": 1}, {"data": "cifar10", "augment.p": 2}, {"data": "digits", "augment.p": 1}]
    assert list(cells(*rows)) == ["data"]
    assert cells(*rows, {"data": "digits", "augment.p": 3})["p"] == ["1", "2", "1", "3"]
    assert list(cells({"data": "digits", "batch_size": 1}, {"data": "cifar10", "batch_size": 2})) == [
        "data",
        "batch_size",
    ]


def test_what_only_one_method_has_is_left_out_and_what_methods_share_is_not():
    rows = [
        {"method": "vje", "prior._target_": "m.Normal"},
        {"method": "byol", "method.predictor": 4096, "method.momentum": 0.99},
        {"method": "simsiam", "method.predictor": 512},
    ]
    assert cells(*rows) == {"method": ["vje", "byol", "simsiam"], "predictor": [None, "4096", "512"]}
