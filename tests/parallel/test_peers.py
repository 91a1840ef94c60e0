"""When a process is gone, the others end, with a sentence, whatever they are doing."""

from __future__ import annotations

import os
import time

import pytest
from lightning.fabric import Fabric
from torch import distributed

from tests.helpers.together import ended, together
from vje_ppl.errors import UserError
from vje_ppl.parallel.peers import watched


def fabric(rank):
    os.environ |= {"LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    made = Fabric(accelerator="cpu", devices=2)
    made.launch()
    return made


def one_dies(rank, how):
    with watched(fabric(rank)):
        distributed.barrier()
        if rank == 1 and how == "killed":
            os.kill(os.getpid(), 9)
        if rank == 1 and how == "error of its own":
            raise UserError("photo.jpg cannot be read.")
        distributed.barrier()


@pytest.mark.parametrize("how", ["killed", "error of its own"])
def test_a_collective_that_has_lost_a_process_says_so(how):
    (first, second), _ = ended(one_dies, how)
    assert not first[0]
    assert "vje_ppl.errors.UserError: process 2 of 2" in first[1]
    assert "is gone" in first[1]
    assert not second[0]
    assert ("photo.jpg cannot be read" in second[1]) == (how == "error of its own")


def one_dies_while_the_other_is_busy(rank, folder):
    os.dup2(os.open(folder / f"{rank}", os.O_CREAT | os.O_WRONLY), 2)
    with watched(fabric(rank)):
        distributed.barrier()
        if rank == 0:
            os.kill(os.getpid(), 9)
        time.sleep(600)  # as in a kernel of NCCL that waits for the other


def test_a_process_that_waits_for_something_else_ends_as_well(tmp_path):
    began = time.monotonic()
    answers, codes = ended(one_dies_while_the_other_is_busy, tmp_path)
    assert time.monotonic() - began < 500
    assert [good for good, _ in answers] == [False, False]
    assert codes == [-9, 2]
    said = (tmp_path / "1").read_text().splitlines()
    assert [line.startswith("error: process 1 of 2") for line in said] == [True]


def one_is_done_earlier(rank, folder):
    with watched(fabric(rank)):
        distributed.barrier()
        if rank == 0:
            while not (folder / "left").exists():
                time.sleep(0.01)
            time.sleep(1)  # in which the watch hears what there is to hear
    (folder / "left").touch()
    return "done"


def test_a_process_that_leaves_in_order_is_not_missed(tmp_path):
    assert together(one_is_done_earlier, tmp_path) == ["done", "done"]


def test_within_itself_and_alone_it_does_nothing():
    with watched(Fabric(accelerator="cpu", devices=1)):
        pass
    with pytest.raises(RuntimeError, match="own"), watched(Fabric(accelerator="cpu", devices=1)):
        raise RuntimeError("its own")
