"""`python -m vje_ppl.reproduce` as a user runs it: what it computes, computes no second time, and leaves."""

from __future__ import annotations

import contextlib
import csv
import json
import shlex
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from tests.helpers.cases import composed
from tests.helpers.commands import command, one_sentence
from tests.helpers.processes import Command, run
from vje_ppl.reproduce import command as reproduce_command
from vje_ppl.reproduce.__main__ import main
from vje_ppl.settings.identity import config_digest

SMALL = (
    *("table=ablation", "blocks=[digits]", "variants=[base,nu_2]", "seeds=[0]", "jobs=2", "device=cpu"),
    "train={trainer.epochs:2,data.subset:256,batch_size:64,encoder.width:16,encoder.dim:8,guide.network.depth:1}",
)


def reproduce(folder: Path, *overrides: str) -> subprocess.CompletedProcess:
    return run(folder, "vje_ppl.reproduce", *overrides)


def cells(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "runs/reproduce/cells").glob("*.json")}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reproduce")
    with contextlib.chdir(folder):
        result = command(main, "vje_ppl.reproduce", *SMALL)
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


def test_a_table_is_computed_and_drawn(done):
    folder, said = done
    assert "2 cells, 0 finished" in said
    out = folder / "reproduced/ablation-small"
    assert {path.name for path in out.iterdir()} == {"ablation.png", "ablation.csv", "ablation.md", "config.yaml"}
    with (out / "ablation.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"base", "nu_2"}
    for name, row in rows.items():
        (run,) = (folder / "runs/reproduce").glob(f"digits-{name}-0-*")
        metrics = json.loads((run / "metrics.json").read_text())
        assert float(row["knn/z"]) == metrics["knn/z"]
        assert f"{100 * metrics['knn/z']:.1f}" in (out / "ablation.md").read_text(encoding="utf-8")
    assert "digits, 256 training images" in said
    assert "2 epochs; seed 0." in said


def test_the_configuration_holds_commands_that_make_the_same_run(done):
    folder, _ = done
    found = yaml.safe_load((folder / "reproduced/ablation-small/config.yaml").read_text(encoding="utf-8"))
    assert found["reproduce"]["table"] == "ablation"
    for cell in found["cells"]:
        (typed,) = cell["commands"]
        arguments = shlex.split(typed.removeprefix("python -m vje_ppl.train "))
        digest = config_digest(OmegaConf.to_container(composed(*arguments), resolve=True))
        assert len(list((folder / "runs/reproduce").glob(f"digits-*-0-{digest}"))) == 1
        assert cell["state"] == "finished"
    assert len(found["cells"]) == 2


def test_what_is_finished_stays_and_what_fails_keeps_nothing_from_running(done):
    folder, _ = done
    (folder / "mine").mkdir()  # in which there is no image
    before = cells(folder)
    source = f"sources.cifar10={{data:image_folder,encoder:mlp,data.root:{folder / 'mine'}}}"
    again = reproduce(folder, *SMALL, "blocks=[digits,cifar10]", "variants=[base,nu_2,nu_5]", source, "jobs=1")
    assert again.returncode == 1, again.stderr
    assert "Traceback" not in again.stderr
    assert "6 cells, 2 finished" in again.stdout
    assert "digits, nu_5, seed 0: " in again.stdout
    assert again.stdout.count(": failed: ") == 3
    assert "cifar10, base, seed 0: failed: " in again.stdout
    after = cells(folder)
    assert {name: after[name] for name in before} == before
    assert next(name for name in after if name not in before).startswith("digits-nu_5-0-")
    assert len(after) == 3


def test_nothing_is_computed_where_nothing_should_be(done, run_main):
    folder, _ = done
    result = run_main(*SMALL, "seeds=[0,7]", "run=false", f"cells={folder / 'runs/reproduce/cells'}")
    assert result.returncode == 0, result.stderr
    assert "4 cells, 2 finished" in result.stdout
    assert not Path("runs").exists()


def test_a_damaged_record_is_named(done, tmp_path, run_main):
    folder, _ = done
    name = next(iter(cells(folder)))
    (tmp_path / name).write_text('{"block": "dig', encoding="utf-8")
    sentence = one_sentence(run_main(*SMALL, "variants=[base,nu_2,nu_5]", f"cells={tmp_path}"))
    assert name in sentence
    assert "remove it to compute the cell again" in sentence


def test_an_interrupted_study_goes_on(tmp_path):
    """After SIGTERM the run is saved; what the next call makes of it is what an undisturbed one makes."""
    long = [*SMALL[:-1], "variants=[base]", "train={trainer.epochs:400,data.subset:256,encoder.width:16,knn.every:0}"]
    process = Command(tmp_path, "vje_ppl.reproduce", *long)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/reproduce/digits-*/metrics.csv")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    done = process.wait()
    assert done.returncode == 128 + signal.SIGTERM
    assert "interrupted; rerun the same command to resume" in done.stdout
    assert not cells(tmp_path)
    (log,) = tmp_path.glob("runs/reproduce/digits-*/log.txt")
    assert "interrupted: state saved" in log.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            (),
            "reproduce expects one of figure=2|3|4 and "
            "table=knn_linear|knn_linear_no_projector|one_class|ablation|ood|scores|epochs|tuning|tuning_no_projector|"
            "likelihood|direction|whitening, got neither.",
        ),
        (("figure=2", "table=ablation"), "got both."),
        (("figure=5",), "figure expects 2, 3 or 4, got 5."),
        (("figure=2", "jobs=0"), "jobs expects auto or a whole number of at least 1, got 0."),
        (("table=ablation", "part=3", "parts=3"), "part expects a whole number from 0 to below parts"),
        (("table=ablation", "train=[x]"), "train expects overrides as a mapping"),
    ],
    ids=lambda one: one if isinstance(one, str) else " ".join(one) or "nothing",
)
def test_mistakes_get_a_sentence(overrides, sentence, tmp_path, run_main):
    assert sentence in one_sentence(run_main(*overrides))


@pytest.mark.parametrize("has", [True, False])
@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_a_note_says_that_bf16_is_emulated(precision, has, run_main, monkeypatch):
    monkeypatch.setattr(reproduce_command, "multiplies_bf16", lambda device: has)
    monkeypatch.setattr(reproduce_command, "run_cells", lambda *_: 0)
    result = run_main(*SMALL[:-1], f"train={{trainer.precision:{precision}}}")
    assert ("processor emulates" in result.stdout) == (precision == "bf16" and not has)


@pytest.fixture
def run_main(tmp_path, monkeypatch):
    """The entry point in this process, where nothing is to be computed."""
    monkeypatch.chdir(tmp_path)
    return partial(command, main, "vje_ppl.reproduce")
