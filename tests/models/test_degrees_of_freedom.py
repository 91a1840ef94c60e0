"""Degrees of freedom, fixed and learned."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest
import torch
from numpyro import handlers

from vje_ppl.models.degrees_of_freedom import HIGHEST, LOWEST, DegreesOfFreedom
from vje_ppl.numpyro_port import degrees_of_freedom as port

#: Inside the interval of learned values, close to both of its ends.
VALUES = [0.11, 0.5, 1.0, 2.0, 30.0, 9e3]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("value", [1e-3, 1.0, 30.0, 1e6])
def test_fixed_is_a_constant_in_the_dtype_asked_for(value, dtype):
    df = DegreesOfFreedom(value)
    assert not list(df.parameters())
    assert set(df.state_dict()) == {"value"}
    assert df(dtype).dtype == dtype
    assert df(dtype).item() == pytest.approx(value, rel=1e-7)


def test_fixed_adds_no_arithmetic():
    df = DegreesOfFreedom(2.0)
    assert df(torch.float32) is df.value


@pytest.mark.parametrize("value", VALUES)
def test_learned_starts_from_its_value(value):
    df = DegreesOfFreedom(value, learned=True)
    # The parameter is a float32 of size below 16: off by 5e-7, and log ν by no more.
    assert df(torch.float64).item() == pytest.approx(value, rel=1e-6)
    assert df(torch.float32).dtype == torch.float32
    assert df(torch.float32).item() == pytest.approx(value, rel=1e-5)
    assert [(name, parameter.shape) for name, parameter in df.named_parameters()] == [("raw", ())]
    assert set(df.state_dict()) == {"raw"}


@pytest.mark.parametrize("raw", [-1e6, -30.0, 30.0, 1e6])
def test_learned_stays_in_its_interval_wherever_the_parameter_runs(raw):
    df = DegreesOfFreedom(1.0, learned=True)
    with torch.no_grad():
        df.raw.fill_(raw)
    value = df(torch.float64)
    assert LOWEST * (1 - 1e-12) <= value.item() <= HIGHEST * (1 + 1e-12)
    value.backward()
    assert torch.isfinite(df.raw.grad)


@pytest.mark.parametrize("value", VALUES)
def test_learned_has_the_gradient_of_finite_differences(value):
    df, step = DegreesOfFreedom(value, learned=True).double(), 1e-5
    gradient = torch.autograd.grad(df(torch.float64), df.raw)[0].item()
    with torch.no_grad():
        df.raw += step
        above = df(torch.float64).item()
        df.raw -= 2 * step
        below = df(torch.float64).item()
    assert gradient == pytest.approx((above - below) / (2 * step), rel=1e-6)
    assert gradient > 0


@pytest.mark.parametrize("toward", [0.3, 50.0])
def test_learned_moves_to_where_an_optimizer_pulls_it(toward):
    df = DegreesOfFreedom(3.0, learned=True)
    optimizer = torch.optim.Adam(df.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        (df(torch.float32) / toward).log().square().backward()
        optimizer.step()
    assert df(torch.float32).item() == pytest.approx(toward, rel=1e-2)


def test_is_told_where_it_is_learned():
    assert DegreesOfFreedom(3.0).learned_number() is None
    df = DegreesOfFreedom(3.0, learned=True)
    with torch.no_grad():
        df.raw += 0.5
    found = df.learned_number()
    assert found is not None
    assert not found.requires_grad
    middle, half = math.log(1e3) / 2, math.log(1e5) / 2  # of log ν between 0.1 and 10⁴
    expected = middle + half * math.tanh(math.atanh((math.log(3.0) - middle) / half) + 0.5 / half)
    assert found.log().item() == pytest.approx(expected, rel=1e-6)  # the parameter is a float32


@pytest.mark.parametrize("learned", [False, True], ids=["fixed", "learned"])
def test_equals_its_twin(learned):
    with jax.enable_x64(True):
        for value in VALUES:
            ours = DegreesOfFreedom(value, learned).double()
            theirs = port.DegreesOfFreedom(value, learned, "likelihood.df")
            assert float(handlers.seed(theirs, 0)(np.float64)) == pytest.approx(value, rel=1e-13)
            given = {f"likelihood.df.{name}": one.detach().numpy() + 0.4 for name, one in ours.named_parameters()}
            with torch.no_grad():
                for parameter in ours.parameters():
                    parameter += 0.4
            found = float(handlers.substitute(theirs, data=given)(np.float64))
            # A fixed value is a float32 in torch.
            assert found == pytest.approx(ours(torch.float64).item(), rel=1e-13 if learned else 1e-7)


@pytest.mark.parametrize("kind", [DegreesOfFreedom, port.DegreesOfFreedom], ids=["pyro", "numpyro"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_a_value_that_is_not_positive_and_finite_is_refused(kind, value):
    with pytest.raises(ValueError, match="A Student-t expects positive degrees of freedom below infinity, got df="):
        kind(value)


@pytest.mark.parametrize("kind", [DegreesOfFreedom, port.DegreesOfFreedom], ids=["pyro", "numpyro"])
@pytest.mark.parametrize("value", [0.1, 0.01, 1e4, 1e6])
def test_a_learned_one_that_cannot_start_there_is_refused(kind, value):
    with pytest.raises(ValueError, match=r"Learned degrees of freedom must start between 0\.1 and 10000, got df="):
        kind(value, learned=True)
