"""Functions of constants are called once, and again when the constant changes."""

from __future__ import annotations

import gc

import pytest
import torch

from vje_ppl.distributions.of_constant import _RESULTS, of_constant
from vje_ppl.distributions.student_t import StudentT


class Counted:
    """Doubles a tensor, and counts how often."""

    def __init__(self):
        self.calls = 0

    def __call__(self, constant, plus=0.0):
        self.calls += 1
        return 2 * constant + plus


def test_a_constant_is_computed_once_for_all_arguments():
    function, constant = Counted(), torch.tensor(3.0)
    assert [of_constant(function, constant, plus).item() for plus in (0.0, 1.0, 0.0, 1.0)] == [6.0, 7.0, 6.0, 7.0]
    assert function.calls == 2


def test_a_constant_that_changes_in_place_is_computed_again():
    function, constant = Counted(), torch.tensor(3.0)
    of_constant(function, constant)
    constant.fill_(5.0)
    assert of_constant(function, constant).item() == 10.0


@pytest.mark.parametrize(
    "tensor", [torch.ones(2), torch.tensor(1.0, requires_grad=True)], ids=["not a number", "with a gradient"]
)
def test_other_tensors_are_computed_each_time(tensor):
    function = Counted()
    for _ in range(2):
        of_constant(function, tensor)
    assert function.calls == 2


def test_nothing_is_remembered_in_inference_mode_which_autograd_could_not_use():
    function, constant = Counted(), torch.tensor(3.0)
    with torch.inference_mode():
        of_constant(function, constant)
    factor = torch.tensor(1.0, requires_grad=True)
    (factor * of_constant(function, constant)).backward()
    assert factor.grad == 6.0


def test_nothing_outlives_its_constant():
    before = len(_RESULTS)
    constant = torch.tensor(3.0)
    of_constant(Counted(), constant)
    assert len(_RESULTS) == before + 1
    del constant
    gc.collect()
    assert len(_RESULTS) == before


def test_loading_other_degrees_of_freedom_changes_the_density():
    df, x = torch.tensor(1.0), torch.tensor(0.5)
    StudentT(df, 0.0, 1.0).log_prob(x)
    df.copy_(torch.tensor(7.0))
    expected = torch.distributions.StudentT(7.0).log_prob(x)
    torch.testing.assert_close(StudentT(df, 0.0, 1.0).log_prob(x), expected, rtol=1e-6, atol=1e-6)
