"""Sweeps on a cluster, and commands that several processes cannot share."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from tests.helpers.commands import SMALL, environment, one_sentence
from tests.helpers.states import final_state

COMMANDS = ("train", "evaluate", "reproduce")


def launcher(command, *overrides):
    """The settings of a sweep's launcher, as the command line composes them."""
    with initialize_config_module("vje_ppl.configs", version_base="1.3"):
        return compose(command, overrides=list(overrides), return_hydra_config=True).hydra.launcher


@pytest.mark.parametrize("command", COMMANDS)
def test_slurm_composes_for_every_command_that_sweeps(command):
    pytest.importorskip("submitit")
    settings = launcher(command, "launcher=slurm", "hydra.launcher.tasks_per_node=8", "hydra.launcher.partition=gpu")
    assert settings._target_.endswith("SlurmLauncher")
    assert (settings.tasks_per_node, settings.partition, settings.signal_delay_s) == (8, "gpu", 120)
    assert launcher(command)._target_.endswith("BasicLauncher")
    assert launcher(command, "launcher=local")._target_.endswith("LocalLauncher")


def test_submitit_makes_a_batch_file_of_the_settings(tmp_path):
    """By submitit's own function, which refuses what it does not know."""
    slurm = pytest.importorskip("submitit.slurm.slurm")
    settings = OmegaConf.to_container(launcher("train", "launcher=slurm", "hydra.launcher.tasks_per_node=8"))
    del settings["_target_"], settings["submitit_folder"], settings["max_num_timeout"]
    names = {"name": "job_name", "timeout_min": "time", "tasks_per_node": "ntasks_per_node", "mem_gb": "mem"}
    known = inspect.signature(slurm._make_sbatch_string).parameters
    settings = {names.get(name, name): value for name, value in settings.items()}
    assert not set(settings) - set(known)
    made = slurm._make_sbatch_string(command="python", folder=tmp_path, **{**settings, "job_name": "train"})
    lines = made.splitlines()
    assert {"#SBATCH --ntasks-per-node=8", "#SBATCH --signal=USR2@120", "#SBATCH --time=1440"} <= set(lines)
    assert "export SLURM_KILL_BAD_EXIT=1" in lines[: next(i for i, line in enumerate(lines) if line.startswith("srun"))]


def test_without_the_extra_one_sentence_says_what_to_install(tmp_path):
    plugins = tmp_path / "hydra_plugins"  # in the place of those that are installed
    plugins.mkdir()
    (plugins / "__init__.py").touch()
    command = [sys.executable, "-m", "vje_ppl.train", "-m", "launcher=slurm", "seed=0,1"]
    variables = environment() | {"PYTHONPATH": str(tmp_path)}
    result = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=300)
    assert 'pip install "vje_ppl[cluster]"' in one_sentence(result)


@pytest.mark.slow
def test_jobs_of_a_launcher_run_and_their_errors_reach_the_sweep(tmp_path):
    pytest.importorskip("submitit")
    command = [sys.executable, "-m", "vje_ppl.train", "-m", "launcher=local", *SMALL]

    def sweep(*overrides):
        arguments = [*command, *overrides]
        return subprocess.run(arguments, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=600)

    result = sweep("seed=0,1", "run.name=seed-${seed}")
    assert result.returncode == 0, result.stderr
    assert all(final_state(tmp_path / "runs" / f"seed-{seed}")["finished"] for seed in (0, 1))
    assert "beta >= 0" in one_sentence(sweep("objective.beta=-1,-2"))


TORCHRUN = {"LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}
SLURM = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "SLURM_NTASKS": "2"}


@pytest.mark.parametrize("variables", [TORCHRUN, SLURM], ids=["torchrun", "SLURM"])
def test_a_sweep_in_several_processes_is_refused(train, monkeypatch, tmp_path, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "environ", dict(os.environ))  # which is changed for Fabric
    sentence = one_sentence(train("-m", "seed=0,1"))
    assert "a sweep (-m) under" in sentence
    assert "launcher=slurm" in sentence
    assert not (tmp_path / "runs").exists()


def test_a_sweep_of_runs_that_start_processes_themselves_is_refused(train, tmp_path):
    result = train("seed=0", "trainer.device=cpu", "trainer.devices=2", "-m")
    assert "this run needs 2" in one_sentence(result)


def test_what_cannot_be_shared_is_refused(monkeypatch, capsys):
    from vje_ppl.compare.__main__ import main

    monkeypatch.setattr(os, "environ", os.environ | TORCHRUN)
    monkeypatch.setattr(sys, "argv", ["vje_ppl.compare", "runs=runs"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert "vje_ppl.compare runs in one process, but torchrun started 2" in capsys.readouterr().err
