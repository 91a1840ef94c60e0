"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pyro
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

pytest.register_assert_rewrite("tests.helpers")

from tests.helpers.commands import train, train_in  # noqa: E402, F401

# Compiling takes most of the time of JAX in the tests; read when JAX starts, also in processes that tests start.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

#: Folders and files whose tests start processes, or run whole commands: they have the marker `process`.
PROCESSES = (
    "cli/",
    "compare/test_command.py",
    "crosscheck/test_command.py",
    "data/test_batches.py",
    "data/test_loaders.py",
    "diagnose/test_command.py",
    "documentation/",
    "evaluate/test_command.py",
    "export/test_command.py",
    "features/test_shards.py",
    "methods/test_distributed.py",
    "numpyro_port/test_twins.py",
    "parallel/test_agreed_signal.py",
    "parallel/test_processes.py",
    "reproduce/test_command.py",
    "runs/test_checkpoint.py",
    "settings/test_moved.py",
    "test_packaging.py",
    "testing/test_report.py",
    "train/test_accumulation.py",
    "train/test_command.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their place, and run first those that take long."""
    for item in items:
        if item.path.relative_to(Path(__file__).parent).as_posix().startswith(PROCESSES):
            item.add_marker(pytest.mark.process)
    items.sort(key=lambda item: item.get_closest_marker("process") is None)


@pytest.fixture(autouse=True)
def _clean_slate():
    """A fixed seed, an empty Pyro parameter store, argument validation on, and Hydra as after an import."""
    GlobalHydra.instance().clear()
    torch.manual_seed(0)
    pyro.clear_param_store()
    pyro.enable_validation(True)
    yield
    pyro.clear_param_store()


@pytest.fixture(scope="session")
def trained_digits(tmp_path_factory) -> Path:
    """A small run that has learned something: 40 epochs on all digits. For reading, and for `diagnosis/` in it."""
    root = tmp_path_factory.mktemp("trained_digits")
    train_in(root, "run.name=a", "trainer.epochs=40", "data.subset=null", "batch_size=128")
    return root / "a"
