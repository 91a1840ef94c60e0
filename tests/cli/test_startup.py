"""What the commands import: seconds of waiting at each start."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.helpers.cases import composed
from tests.helpers.commands import environment
from vje_ppl.runs.folder import RunFolder

#: Packages that take long to import.
HEAVY = {
    *("arviz_stats", "jax", "lightly", "lightning", "lightning_fabric", "matplotlib", "numpy", "numpyro", "pandas"),
    *("pyro", "pytorch_lightning", "scipy", "sklearn", "torch", "torchmetrics", "torchvision"),
}

COMMANDS = ("train", "evaluate", "compare", "diagnose", "crosscheck", "reproduce", "export", "score", "benchmark")
REFUSED = (
    *(f"{name} --help" for name in COMMANDS),
    *(f"{name} no_such_key=1" for name in COMMANDS),
    "train encoder.widht=3",
    "train optimizer.lrr=0.1",
    "train +no_such_key=1",
    "train prior=no_such_option",
    "train seed=[1",
    "train trainer.epochs=many",
    "evaluate run=runs/a eval=no_such_kind",
    "diagnose run=runs/a samples=1",
    "crosscheck widths=[1]",
    "export",
)

#: Runs commands in one process, and prints after each its exit code and the heavy packages imported so far.
RUN = """
import contextlib, io, json, logging, runpy, sys
for line in json.loads(sys.argv[1]):
    name, *sys.argv[1:] = line.split()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            runpy.run_module(f"vje_ppl.{name}", run_name="__main__")
        except SystemExit as left:
            code = left.code
    imported = {module.partition(".")[0] for module in sys.modules}
    print(json.dumps([line, code, sorted(imported & set(json.loads(sys.argv_heavy)))]))
""".replace("sys.argv_heavy", repr(json.dumps(sorted(HEAVY))))


def imported_by(folder: Path, *lines: str) -> list[tuple[str, int, set[str]]]:
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(lines)],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return [(line, code, set(heavy)) for line, code, heavy in map(json.loads, done.stdout.splitlines())]


def test_help_and_errors_of_the_command_line_import_nothing_heavy(tmp_path):
    found = imported_by(tmp_path, *REFUSED)
    assert [(line, code) for line, code, _ in found] == [(line, 0 if "--help" in line else 2) for line in REFUSED]
    assert {line: heavy for line, _, heavy in found if heavy} == {}


@pytest.fixture
def runs(tmp_path):
    """Finished runs with all that a comparison shows, written by hand."""
    for name, overrides in {"a": [], "b": ["likelihood/radius=none"], "c": ["prior=laplace"]}.items():
        folder = RunFolder(tmp_path / "runs", name)
        config = OmegaConf.to_container(composed("trainer.epochs=2", *overrides), resolve=True)
        folder.write_config(config)
        folder.write_metrics({"epoch": 2, "knn/z": 0.9, "knn/mu": 0.8, "kl": 1.0, "elbo": -5.0, "seconds": 3.0})
    return tmp_path


def test_compare_imports_only_what_draws_its_picture(runs):
    assert imported_by(runs, "compare runs=runs") == [("compare runs=runs", 0, {"matplotlib", "numpy"})]
    assert "ELBO" in (runs / "runs" / "comparison" / "comparison.md").read_text(encoding="utf-8")


def test_train_imports_neither_pictures_nor_metrics_nor_torchvision():
    code = "import json, sys, vje_ppl.train.run; print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert HEAVY & set(json.loads(done.stdout)) == {"lightning_fabric", "numpy", "pyro", "torch"}
