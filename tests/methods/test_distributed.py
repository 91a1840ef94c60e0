"""Two processes compute the loss and the gradient of one, for every method."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from tests.methods.cases import METHODS, built, views

PROCESSES = 2


def measured(module: torch.nn.Module, batch: list[Tensor]) -> dict[str, Tensor]:
    """Loss, terms and gradients by name, after one backward pass."""
    terms = module(*batch)
    terms.loss.backward()
    found = {"loss": terms.loss.detach(), **terms.scalars()}
    return found | {name: one.grad for name, one in module.named_parameters() if one.requires_grad}


def work(rank: int, port: int, folder: Path) -> None:
    """One process of two: its rows of every batch, all methods one after the other."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=PROCESSES)
    for method in METHODS:
        module = DistributedDataParallel(built(method, "norm=group", seed=rank))  # rank 0's parameters are everyone's
        found = measured(module, [view.chunk(PROCESSES)[rank] for view in views()])
        for value in found.values():
            distributed.all_reduce(value)
        if rank == 0:
            shared = {name.removeprefix("module."): value / PROCESSES for name, value in found.items()}
            torch.save(shared, folder / f"{method}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(work, (port, folder), nprocs=PROCESSES)
    return {method: torch.load(folder / f"{method}.pt", weights_only=True) for method in METHODS}


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_have_the_loss_and_gradient_of_one(together, method):
    alone = measured(built(method, "norm=group"), views())
    assert together[method].keys() == alone.keys()
    for name, expected in alone.items():
        # Sums over eight images in another order: some units in the last place of the largest number.
        tolerance = 1e-5 * max(1.0, expected.abs().max().item())
        torch.testing.assert_close(together[method][name], expected, rtol=1e-4, atol=tolerance, msg=f"{method} {name}")
