"""A NaN in a batch, an embedding or a gradient stops a run, or is skipped and counted, as configured."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys

import pytest
import torch

from tests.helpers.commands import SMALL, environment, one_sentence
from tests.helpers.states import compare, final_state
from vje_ppl.runs import checkpoint

#: Parts of a user's own that are in order but for one step, or from one step on.
PARTS = """
import os
import signal

import numpy as np
import torch
from torch import nn

from vje_ppl.data.transforms.interfaces import Filter
from vje_ppl.networks.encoders import MLP


class PoisonedFilter(Filter):
    def __init__(self, step):
        self.step, self.calls = step, 0

    def draw(self, rng, shape):
        return np.zeros((shape[0], 1), dtype=np.float32)

    def apply(self, images, draws):
        step, self.calls = self.calls // 2, self.calls + 1  # there are two views
        return images * torch.nan if step == self.step else images


class PoisonedGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * torch.nan


class Encoder(MLP):
    def __init__(self, channels, image_size, where, steps, rank=None, stop_at=None, **options):
        super().__init__(channels, image_size, **options)
        self.where, self.steps, self.rank, self.stop_at, self.calls = where, steps, rank, stop_at, 0

    def forward(self, images):
        z = super().forward(images)
        if not (self.training and torch.is_grad_enabled()):
            return z
        step, self.calls = self.calls // 2, self.calls + 1
        if step == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        if step not in self.steps or self.rank not in (None, int(os.environ.get("LOCAL_RANK", 0))):
            return z
        return z * torch.nan if self.where == "embedding" else PoisonedGradient.apply(z)
"""

#: Four steps in each of two epochs.
RUN = (*SMALL, "trainer.on_nonfinite=skip", "run.name=a")


@pytest.fixture(autouse=True)
def parts(tmp_path):
    (tmp_path / "poisoned.py").write_text(PARTS, encoding="utf-8")
    yield
    sys.modules.pop("poisoned", None)


def encoder(where, steps, **options):
    more = [f"+encoder.{key}={value}" for key, value in options.items()]
    return ("encoder._target_=poisoned.Encoder", f"+encoder.where={where}", f"+encoder.steps={[*steps]}", *more)


def poisoned(where, step):
    if where == "batch":
        return ("+augment.filters.poison._target_=poisoned.PoisonedFilter", f"+augment.filters.poison.step={step}")
    return encoder(where, [step])


WHERE = {"batch": "the embedding", "embedding": "the embedding", "gradient": "the gradient"}


def rows(folder):
    return list(csv.DictReader((folder / "metrics.csv").read_text(encoding="utf-8").splitlines()))


def tensors(value):
    if torch.is_tensor(value):
        yield value
    elif isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from tensors(one)


def assert_finite(state):
    for part in ("module", "optimizer"):
        assert all(torch.isfinite(one).all() for one in tensors(state[part]))


@pytest.mark.parametrize("where", WHERE)
def test_a_nan_is_skipped_counted_and_reported(train, tmp_path, where):
    result = train(*RUN, *poisoned(where, 5), small=False)
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "runs" / "a"
    assert [row["skipped_steps"] for row in rows(folder)] == ["", "0", "1"]
    assert all(math.isfinite(float(value)) for value in rows(folder)[2].values() if value)
    assert json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["skipped_steps"] == 1
    assert "1 steps skipped" in result.stdout
    assert f"1 step(s) of epoch 2 skipped for not being finite, from step 5, first at {WHERE[where]}" in result.stdout
    assert "steps skipped for not being finite" in result.stdout
    assert_finite(final_state(folder))


@pytest.mark.parametrize("where", WHERE)
def test_a_nan_stops_the_run_before_it_is_saved_and_the_run_goes_on_skipping(train, tmp_path, where):
    stop = ("trainer.on_nonfinite=stop", "trainer.checkpoint_every=1")
    said = one_sentence(train(*RUN, *stop, *poisoned(where, 5), small=False))
    assert f"non-finite in step 5, first at {WHERE[where]}" in said
    assert "trainer.on_nonfinite=skip" in said
    folder = tmp_path / "runs" / "a"
    assert_finite(final_state(folder))
    assert (final_state(folder)["epoch"], final_state(folder)["step_in_epoch"]) == (1, 1)
    again = train(*RUN, *poisoned(where, 5), small=False)  # whose parts count anew: the NaN would be in step 10
    assert again.returncode == 0, again.stderr
    assert "step 1" in again.stdout
    assert final_state(folder)["finished"]


def test_the_count_outlives_an_interruption(train, tmp_path):
    first = train(*RUN, *encoder("embedding", [1], stop_at=2), small=False)
    assert first.returncode == 128 + 15, first.stderr
    assert final_state(tmp_path / "runs" / "a")["step_in_epoch"] == 3
    again = train(*RUN, *encoder("embedding", [1], stop_at=2), small=False)  # step 4: the second of this process
    assert again.returncode == 128 + 15, again.stderr
    last = train(*RUN, *encoder("embedding", [1], stop_at=2), small=False)
    assert last.returncode == 0, last.stderr
    folder = tmp_path / "runs" / "a"
    # Steps 1, 4 and 7; the third process has no third step in which to be stopped.
    assert [row["skipped_steps"] for row in rows(folder)] == ["", "1", "2"]
    assert json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["skipped_steps"] == 3


def test_a_run_in_which_every_step_is_skipped_stops(train, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "PATIENCE", 0)  # a checkpoint an epoch, however short
    said = one_sentence(train(*RUN, *encoder("gradient", range(4, 8)), small=False))
    assert "the last 4 steps were all skipped" in said.lower()
    assert "since step 4, first at the gradient" in said
    assert final_state(tmp_path / "runs" / "a")["epoch"] == 1


def test_a_long_row_of_skipped_steps_stops(train):
    said = one_sentence(
        train(*RUN, "batch_size=8", "trainer.log_every=5", *encoder("gradient", range(3, 99)), small=False)
    )
    assert "the last 22 steps were all skipped" in said.lower()


def test_nothing_skipped_changes_nothing(train, tmp_path):
    assert train(*RUN, small=False).returncode == 0
    assert train(*RUN, "run.name=b", "trainer.on_nonfinite=stop", small=False).returncode == 0
    states = [final_state(tmp_path / "runs" / name) for name in "ab"]
    for row in states[0]["history"]:
        assert row.pop("skipped_steps", 0) == 0
    compare(*states)


def test_another_word_is_refused(train):
    assert "trainer.on_nonfinite expects stop or skip, got ignore" in one_sentence(train("trainer.on_nonfinite=ignore"))


@pytest.mark.slow
def test_two_processes_skip_the_step_that_is_bad_in_one(tmp_path):
    overrides = (*RUN, "norm=group", "trainer.device=cpu", "trainer.devices=2", *encoder("embedding", [5], rank=1))
    command = [sys.executable, "-m", "vje_ppl.train", *overrides]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "a"
    assert [row["skipped_steps"] for row in rows(folder)] == ["", "0", "1"]
    assert "from step 5, first at the embedding" in done.stdout
    assert_finite(final_state(folder))
