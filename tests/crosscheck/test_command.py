"""The command: exit codes, JSON, a trained run, and a sentence for whoever mistyped."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from vje_ppl.crosscheck.__main__ import crosscheck
from vje_ppl.errors import UserError


def _run(*arguments, cwd):
    command = [sys.executable, "-m", "vje_ppl.crosscheck", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_it_passes_and_writes_json(tmp_path):
    found = _run("widths=[2]", "precision=[float64]", "output=out.json", cwd=tmp_path)
    assert found.returncode == 0, found.stdout + found.stderr
    report = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert report["passed"]
    assert all(check["relative"] <= 1e-10 for check in report["checks"])
    rows = {line.split("  ")[0] for line in found.stdout.splitlines()}
    assert {check["quantity"] for check in report["checks"]} <= rows
    assert report["normalization"]


def test_a_mistake_gets_a_sentence_and_no_traceback(tmp_path):
    found = _run("run=nowhere", cwd=tmp_path)
    assert found.returncode == 2
    assert "there is none in nowhere" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"precision": ["float16"]}, "precision expects float64, float32 or both, got float16"),
        ({"widths": [1]}, "widths expects whole numbers of at least 2"),
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
    options = ["model/scale=free", "likelihood.df=3", "likelihood/radius/scale=projected", "encoder.width=32"]
    arguments = [f"run.root={root}", "run.name=one", "trainer.epochs=1", "knn.every=0", "encoder.dim=8", *options]
    subprocess.run([sys.executable, "-m", "vje_ppl.train", *arguments], check=True, capture_output=True)
    return root / "one"


@pytest.mark.slow
def test_a_trained_run_agrees_on_real_images(run):
    found = _run(f"run={run}", "images=64", cwd=run.parent)
    assert found.returncode == 0, found.stdout + found.stderr
    report = json.loads((run / "crosscheck.json").read_text(encoding="utf-8"))
    by_name = {(check["quantity"], check["precision"]): check for check in report["checks"]}
    assert by_name["site direction", "float64"]["cases"] == 128
    assert by_name["symmetric objective", "float32"]["oracles"] == ["closed form"]
    with np.load(run / "crosscheck.npz") as arrays:
        assert arrays["embedding"].shape == arrays["posterior_scale"].shape == (2, 64, 8)


@pytest.mark.slow
def test_a_mistake_in_one_backend_fails_the_trained_run(run, tmp_path):
    planted = Path(tmp_path / "planted.py")
    planted.write_text(
        "import sys\n"
        "import vje_ppl.numpyro_port.distributions.diagonal_student_t as twin\n"
        "original = twin.DiagonalStudentT.log_prob\n"
        "twin.DiagonalStudentT.log_prob = lambda self, value, *rest: original(self, value, *rest) + 1e-3\n"
        "from vje_ppl.crosscheck.__main__ import main\n"
        f"sys.argv = ['crosscheck', 'run={run}', 'images=64', 'precision=[float64]']\n"
        "main()\n",
        encoding="utf-8",
    )
    found = subprocess.run([sys.executable, str(planted)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert "FAIL site direction in float64: NumPyro disagrees" in found.stdout
