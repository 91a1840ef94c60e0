"""The command: exit codes, JSON, a trained run, and a sentence for whoever mistyped."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from tests.helpers.commands import command, train_in
from vje_ppl.crosscheck.__main__ import crosscheck, main
from vje_ppl.errors import UserError
from vje_ppl.numpyro_port.distributions.tangent_student_t import TangentStudentT


@pytest.fixture
def run_in(monkeypatch):
    """Run the command in a folder, in this process."""
    threads = torch.get_num_threads()

    def run(folder, *arguments):
        monkeypatch.chdir(folder)
        for name in ("JAX_PLATFORMS", "XLA_PYTHON_CLIENT_PREALLOCATE"):
            monkeypatch.setenv(name, "cpu" if name == "JAX_PLATFORMS" else "false")  # put back afterwards
        return command(main, "vje_ppl.crosscheck", *arguments)

    yield run
    torch.set_num_threads(threads)


def test_it_passes_and_writes_json(run_in, tmp_path):
    found = run_in(tmp_path, "widths=[2]", "precision=[float64]", "output=out.json")
    assert found.returncode == 0, found.stdout + found.stderr
    report = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert report["passed"]
    assert all(check["relative"] <= 1e-10 for check in report["checks"])
    rows = {line.split("  ")[0] for line in found.stdout.splitlines()}
    assert {check["quantity"] for check in report["checks"]} <= rows
    assert report["normalization"]


def test_a_mistake_gets_a_sentence_and_no_traceback(run_in, tmp_path):
    found = run_in(tmp_path, "run=nowhere")
    assert found.returncode == 2
    assert "run folder, but there is no nowhere; give its path" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"precision": ["float16"]}, r"precision expects a list of float64, float32 or both, got \['float16'\]"),
        ({"widths": [1]}, "widths expects a list of whole numbers of at least 2"),
        ({"images": 1}, "images expects a whole number of at least 2"),
    ],
)
def test_options_are_checked_first(wrong, sentence):
    right = {"precision": ["float64"], "widths": [3], "images": 2}
    with pytest.raises(UserError, match=sentence):
        crosscheck(OmegaConf.create(right | wrong))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One epoch on the digits, with a scale of its own, so that a learned parameter has to cross over."""
    root = tmp_path_factory.mktemp("runs")
    options = ["model/scale=free", "likelihood.df=3", "likelihood/radius/scale=projected"]
    train_in(root, "run.name=one", "trainer.epochs=1", "encoder.width=32", *options)
    return root / "one"


@pytest.mark.slow
def test_a_trained_run_agrees_on_real_images(run, run_in):
    found = run_in(run.parent, f"run={run}", "images=64")
    assert found.returncode == 0, found.stdout + found.stderr
    report = json.loads((run / "crosscheck.json").read_text(encoding="utf-8"))
    by_name = {(check["quantity"], check["precision"]): check for check in report["checks"]}
    assert by_name["site direction", "float64"]["cases"] == 128
    assert by_name["symmetric objective", "float32"]["oracles"] == ["closed form"]
    with np.load(run / "crosscheck.npz") as arrays:
        assert arrays["embedding"].shape == arrays["posterior_scale"].shape == (2, 64, 8)


@pytest.mark.slow
def test_a_mistake_in_one_backend_fails_the_trained_run(run, run_in, monkeypatch, tmp_path):
    original = TangentStudentT.log_prob
    planted = lambda self, value, *rest: original(self, value, *rest) + 1e-3  # noqa: E731
    monkeypatch.setattr(TangentStudentT, "log_prob", planted)
    jax.clear_caches()  # of functions traced before the mistake
    found = run_in(tmp_path, f"run={run}", "images=64", "precision=[float64]")
    assert found.returncode == 1
    assert "FAIL site direction in float64: NumPyro disagrees" in found.stdout
