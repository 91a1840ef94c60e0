"""Who started this process, and how many others: torchrun, SLURM's srun, or nobody."""

from __future__ import annotations

import os

import pytest

from tests.helpers.together import together
from vje_ppl.errors import UserError
from vje_ppl.parallel.processes import is_first, single_process_environment, started_processes

#: What an allocation of two nodes with four tasks each puts into every shell in it.
ALLOCATION = {
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_NAME": "vje",
    "SLURM_NTASKS": "8",
    "SLURM_NTASKS_PER_NODE": "4",
    "SLURM_NNODES": "2",
    "SLURM_NODELIST": "node[07-08]",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}

#: What `srun python ...` in it adds for the sixth task.
STEP = {
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_STEP_NODELIST": "node[07-08]",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
}

TORCHRUN = {
    "LOCAL_WORLD_SIZE": "2",
    "WORLD_SIZE": "6",
    "RANK": "3",
    "LOCAL_RANK": "1",
    "GROUP_RANK": "1",
    "MASTER_ADDR": "node07",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RUN_ID": "none",
}


@pytest.fixture
def surroundings(monkeypatch):
    """Sets the variables of an environment that otherwise has none of torchrun's and SLURM's."""
    for name in list(os.environ):
        if name.startswith(("SLURM_", "MASTER_", "TORCHELASTIC_")) or name in TORCHRUN:
            monkeypatch.delenv(name)
    monkeypatch.setattr(os, "environ", dict(os.environ))  # which the code may change

    def put(variables):
        os.environ.update(variables)

    return put


def test_nobody(surroundings):
    surroundings({})
    assert started_processes() is None
    assert is_first()


def test_torchrun(surroundings):
    surroundings(TORCHRUN)
    started = started_processes()
    assert (started.per_node, started.nodes, started.count, started.starter) == (2, 3, 6, "torchrun")
    assert (started.environment.global_rank(), started.environment.world_size()) == (3, 6)


def test_torchrun_has_the_word_within_slurm(surroundings):
    surroundings({**ALLOCATION, **STEP, **TORCHRUN})
    assert started_processes().starter == "torchrun"


def test_tasks_of_a_step(surroundings):
    surroundings({**ALLOCATION, **STEP})
    started = started_processes()
    assert (started.per_node, started.nodes, started.count, started.starter) == (4, 2, 8, "SLURM")
    environment = started.environment
    assert (environment.global_rank(), environment.local_rank(), environment.node_rank()) == (5, 1, 1)
    assert (environment.world_size(), environment.main_address) == (8, "node07")
    environment.validate_settings(4, 2)


def test_tasks_of_a_step_that_is_a_part_of_the_allocation(surroundings):
    part = {
        "SLURM_STEP_ID": "3",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_STEP_TASKS_PER_NODE": "2",
        "SLURM_STEP_NODELIST": "node08",
    }
    surroundings({**ALLOCATION, **STEP, **part, "SLURM_PROCID": "1"})
    started = started_processes()
    assert (started.per_node, started.nodes) == (2, 1)
    assert (started.environment.world_size(), started.environment.main_address) == (2, "node08")
    started.environment.validate_settings(2, 1)
    ports = {started.environment.main_port}
    os.environ |= {"SLURM_STEP_ID": "4"}
    del os.environ["MASTER_PORT"]
    ports.add(started_processes().environment.main_port)
    assert len(ports) == 2  # steps side by side do not meet


@pytest.mark.parametrize("per_node", ["", "2"], ids=["--ntasks", "--ntasks-per-node"])
def test_tasks_without_and_with_their_number_per_node(surroundings, per_node):
    step = {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}
    surroundings({**step, "SLURM_LOCALID": "1", "SLURM_NODEID": "0", "SLURM_STEP_TASKS_PER_NODE": "2"})
    if per_node:
        os.environ["SLURM_NTASKS_PER_NODE"] = per_node
    assert (started_processes().per_node, started_processes().nodes) == (2, 1)


def test_nodes_with_different_numbers_of_tasks_are_refused(surroundings):
    uneven = {"SLURM_STEP_NUM_TASKS": "7", "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_TASKS_PER_NODE": "4,3"}
    surroundings({**ALLOCATION, **STEP, **uneven})
    with pytest.raises(UserError, match=r"7 tasks on 2 nodes as 4,3.*--ntasks-per-node"):
        started_processes()
    os.environ |= {"SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_TASKS_PER_NODE": "5,3"}
    with pytest.raises(UserError, match="5,3"):
        started_processes()


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param(ALLOCATION, id="batch script"),
        pytest.param(
            {name: ALLOCATION[name] for name in ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_NNODES")}, id="salloc"
        ),
        pytest.param({**ALLOCATION, **STEP, "SLURM_STEP_NUM_TASKS": "1"}, id="srun --ntasks=1"),
        pytest.param({**ALLOCATION, "SLURM_STEP_NUM_TASKS": "1", "SLURM_JOB_NAME": "bash"}, id="srun --pty bash"),
    ],
)
def test_an_allocation_alone_is_not_several_processes(surroundings, variables):
    """There, Fabric is told that the process is by itself: else it would wait for seven others."""
    surroundings(variables)
    assert started_processes() is None
    (environment,) = single_process_environment()
    assert (environment.world_size(), environment.global_rank()) == (1, 0)
    assert not environment.creates_processes_externally


def first(rank):
    return is_first()


def test_one_of_several_is_first():
    assert together(first) == [True, False]
