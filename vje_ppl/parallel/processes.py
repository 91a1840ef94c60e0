"""The processes that a launcher has started for a command: torchrun's, or the tasks of a SLURM step."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vje_ppl.errors import UserError

if TYPE_CHECKING:  # Fabric takes seconds to import, and most commands run in one process without it
    from vje_ppl.parallel.fabric import ClusterEnvironment

_FIRST_PORT, _PORTS = 15_000, 10_000


@dataclass(frozen=True)
class Processes:
    """The number of processes, their machines, and the source of their ranks.

    Attributes:
        starter: the launcher, in words.
        per_node: processes on each machine.
        nodes: number of machines.
        environment: Fabric's plugin for the launcher.
    """

    starter: str
    per_node: int
    nodes: int
    environment: ClusterEnvironment

    @property
    def count(self) -> int:
        """All of them."""
        return self.per_node * self.nodes


def started_processes() -> Processes | None:
    """Return the processes of the launcher that started this one; None if it was started alone, as from a shell.

    A SLURM allocation alone does not mean several processes: a command runs once, as on any machine, in a batch
    script, in a shell opened by `salloc` or `srun --pty`, and under `srun --ntasks=1`.

    Raises:
        UserError: if the number of SLURM's tasks differs between nodes.
    """
    if "LOCAL_WORLD_SIZE" in os.environ:
        from vje_ppl.parallel.fabric import TorchElasticEnvironment

        per_node, count = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        return Processes("torchrun", per_node, count // per_node, TorchElasticEnvironment())
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))  # set only by `srun`, for the processes that it starts
    return _slurm_tasks(tasks) if tasks > 1 and "SLURM_PROCID" in os.environ else None


def _slurm_tasks(tasks: int) -> Processes:
    from vje_ppl.parallel.fabric import SLURMEnvironment

    nodes = int(os.environ.get("SLURM_STEP_NUM_NODES", "1"))
    layout = os.environ.get("SLURM_STEP_TASKS_PER_NODE", "")  # such as 4(x2) or 4,3
    if tasks % nodes or re.fullmatch(rf"{tasks // nodes}(\(x{nodes}\))?", layout or str(tasks // nodes)) is None:
        raise UserError(
            f"SLURM started {tasks} tasks on {nodes} nodes as {layout}, but each node needs the same number; use srun "
            f"--ntasks-per-node=..."
        )
    # Fabric reads the numbers of the allocation, but the step may use only a part of it.
    os.environ |= {"SLURM_NTASKS": str(tasks), "SLURM_NTASKS_PER_NODE": str(tasks // nodes), "SLURM_NNODES": str(nodes)}
    if "SLURM_STEP_NODELIST" in os.environ:
        address = SLURMEnvironment.resolve_root_node_address(os.environ["SLURM_STEP_NODELIST"])
        os.environ.setdefault("MASTER_ADDR", address)
    job, step = (int(os.environ.get(name, "0")) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    os.environ.setdefault("MASTER_PORT", str(_FIRST_PORT + (job + 101 * step) % _PORTS))  # steps may run side by side
    return Processes("SLURM", tasks // nodes, nodes, SLURMEnvironment())


def single_process_environment() -> list[ClusterEnvironment]:
    """Return plugins that tell Fabric, where SLURM is installed, that this process runs alone; empty otherwise."""
    if "SLURM_NTASKS" not in os.environ and not shutil.which("srun"):
        return []
    from vje_ppl.parallel.fabric import LightningEnvironment

    return [LightningEnvironment()]


def is_first() -> bool:
    """Return whether this is the process that prints and writes: the first of several, or the only process."""
    distributed: Any = sys.modules.get("torch.distributed")  # without torch there are no other processes
    if distributed is None or not (distributed.is_available() and distributed.is_initialized()):
        return True
    return distributed.get_rank() == 0
