"""The GPU campaign on the CPU at tiny sizes: every stage, its limit, its results, and what it says without a GPU."""

from __future__ import annotations

import json
import time

import pytest
import torch

from tests.helpers.commands import command, one_sentence
from vje_ppl.benchmark.__main__ import main
from vje_ppl.benchmark.campaign import report, run
from vje_ppl.benchmark.campaign.limits import LIMITS
from vje_ppl.benchmark.options import STAGES

#: Less than the eight minutes of the campaign, by what an installation takes.
MOST_SECONDS = 420


def _benchmark(*arguments):
    return command(main, "vje_ppl.benchmark", *arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("arguments", [(), ("device=cuda",), ("smoke=true",)], ids=str)
def test_without_a_gpu_it_says_so_and_what_to_type(arguments):
    error = one_sentence(_benchmark("on=gpu", *arguments))
    assert error == (
        "error: on=gpu needs a GPU, but torch finds none; type python -m vje_ppl.benchmark on=gpu device=cpu "
        "smoke=true to try its stages on the CPU."
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("on=gpu", "device=cpu"), "device=cpu would take hours at full size; type python -m vje_ppl"),
        (("smoke=true",), "smoke is an option of the campaign; add on=gpu, or leave out smoke=..."),
        (("on=cpu",), "on expects gpu or null, got cpu."),
        (("on=gpu", "only=[step]"), "only expects a list of correctness, throughput, program, scaling, training"),
        (("only=[program]",), "only expects a list of step, throughput, decoding, memory, startup, scaling"),
    ],
)
def test_an_invalid_option_is_one_sentence(arguments, said):
    assert said in one_sentence(_benchmark(*arguments))


#: What the results of a stage hold.
HELD = {
    "correctness": lambda found: (found["failed"], found["skipped"]) == (0, 0) and found["passed"] > 50,
    "throughput": lambda found: min(found["vje_images_per_s"], found["lightly_simsiam_images_per_s"]) > 0,
    "program": lambda found: found["operations_forward_and_backward"] < 150 and found["objective_over_fused_64x64"] > 0,
    "scaling": lambda found: found["knn_4096_seconds"] > 0,
    "training": lambda found: found["one_class_auroc_mahalanobis_clean"] > 0.9,
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_at_tiny_sizes_leaves_its_results(stage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = _benchmark("on=gpu", "device=cpu", "smoke=true", f"only=[{stage}]", "output=gpu.json")
    assert result.returncode == 0, result.stdout
    found = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))["stages"]
    assert found.keys() == {stage}
    assert found[stage]["status"] == "finished"
    assert HELD[stage](found[stage]["results"]), found[stage]["results"]
    text = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert report.NOT_JUDGED in text
    assert f"| {stage} | " in text
    assert "met" not in text.split()


def _fake_stage(monkeypatch, tmp_path, code):
    (tmp_path / "fake_stage.py").write_text(
        f"import json, sys, time\noptions = json.loads(sys.argv[2])\n"
        f"open(options['results'], 'w').write('{{\"first\": 1}}')\n{code}\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return run.run_stage("program", 5, "cpu", True, None, tmp_path / "out.json", module="fake_stage")


def test_a_stage_that_hangs_is_killed_and_keeps_its_results(tmp_path, monkeypatch, capsys):
    start = time.perf_counter()
    found = _fake_stage(monkeypatch, tmp_path, "time.sleep(600)")
    assert time.perf_counter() - start < 60
    assert found["status"] == "killed at its limit of 5 s"
    assert found["results"] == {"first": 1}


def test_a_stage_that_fails_keeps_its_results_and_its_last_words(tmp_path, monkeypatch, capsys):
    found = _fake_stage(monkeypatch, tmp_path, "sys.exit('no more')")
    assert (found["status"], found["results"], found["output"]) == ("failed", {"first": 1}, ["no more"])
    assert "no more" in capsys.readouterr().out


def test_all_limits_leave_time_to_install():
    assert LIMITS.keys() == set(STAGES)
    assert sum(full for full, _ in LIMITS.values()) <= MOST_SECONDS


def test_targets_are_judged_at_full_size():
    results = {"vje_images_per_s": 13_000.0, "vje_share_program": 0.2, "vje_share_encoder": 0.5}
    stages = {"throughput": {"status": "finished", "seconds": 1.0, "results": results}}
    rows = report.rows({"smoke": False, "stages": stages})
    assert [(row["result"], row["target"], row[""]) for row in rows] == [
        ("vje_images_per_s", ">= 12000", "met"),
        ("vje_share_program", "<= 0.05", "missed"),
        ("vje_share_encoder", None, ""),
    ]
