"""What all tests share."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pyro
import pytest
import torch
from filelock import FileLock
from hydra.core.global_hydra import GlobalHydra

pytest.register_assert_rewrite("tests.helpers")

from tests.helpers.commands import train, train_in  # noqa: E402, F401
from tests.helpers.once import compose_each_command_once, parse_each_file_once  # noqa: E402

# Compiling takes most of the time of JAX in the tests; read when JAX starts, also in processes that tests start.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

# JAX's part of each garbage collection takes a twentieth of the time of all tests, when it follows every 700 objects.
gc.set_threshold(20_000, 20, 20)

#: Markers by folder or file; `make quick` leaves all of them out, `make test` the certificate.
PLACES = {
    "gpu": ("gpu/",),
    "process": (
        "benchmark/test_campaign.py",
        "cli/",
        "compare/test_command.py",
        "crosscheck/test_command.py",
        "data/test_batches.py",
        "data/test_loaders.py",
        "data/test_without_class.py",
        "diagnose/test_command.py",
        "documentation/",
        "evaluate/test_command.py",
        "export/test_command.py",
        "features/test_shards.py",
        "methods/test_distributed.py",
        "numpyro_port/test_twins.py",
        "parallel/test_agreed_signal.py",
        "parallel/test_processes.py",
        "parallel/test_second_device.py",
        "reproduce/test_command.py",
        "runs/test_checkpoint.py",
        "score/test_command.py",
        "score/test_loaded_run.py",
        "settings/test_moved.py",
        "test_packaging.py",
        "test_sklearn.py",
        "testing/test_report.py",
        "train/test_accumulation.py",
        "train/test_command.py",
        "train/test_fit.py",
        "train/test_online_rank.py",
        "train/test_start.py",
    ),
    "certificate": (
        "benchmark/",
        "cli/test_config_fuzz.py",
        "crosscheck/",
        "diagnose/",
        "compare/test_known_measures.py",
        "distributions/test_conformance.py",
        "distributions/test_power_spherical.py",
        "distributions/test_sphere_densities.py",
        "distributions/test_tangent_student_t.py",
        "documentation/test_notebooks.py",
        "guides/test_correlated_posterior.py",
        "measures/anomaly/",
        "models/test_conformance.py",
        "numpyro_port/",
        "program/test_base_measure.py",
        "reproduce/",
        "test_sklearn.py",
        "testing/",
    ),
    "long": (
        "data/test_data_configs.py",
        "data/test_decode_fuzz.py",
        "data/test_evaluation_views.py",
        "measures/",
        "networks/",
        "pictures/test_curves.py",
        "program/test_densities.py",
        "runs/test_encoder_weights.py",
        "settings/test_configs.py",
        "train/test_freezing.py",
    ),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """An option to write the files that `cli/test_console.py` compares with, and the device of the tests in `gpu/`."""
    parser.addoption("--update-console", action="store_true", help="write tests/cli/console/ anew")
    parser.addoption("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where tests/gpu/ computes")


def markers_of(place: Path) -> set[str]:
    """The markers of all tests in a file or folder."""
    name = place.relative_to(Path(__file__).parent).as_posix() + "/" * place.is_dir()
    return {marker for marker, places in PLACES.items() if name.startswith(places)}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import what the expression of `-m` leaves out."""
    expression = config.getoption("markexpr")
    return any(f"not {marker}" in expression for marker in markers_of(collection_path)) or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their place, and run first those that take long."""
    for item in items:
        for marker in markers_of(item.path) | ({"certificate"} if "twin" in item.name else set()):
            item.add_marker(marker)
    items.sort(key=lambda item: not {"process", "certificate"} & {marker.name for marker in item.iter_markers()})


@pytest.fixture(scope="session", autouse=True)
def _same_work_once():
    """Do once what is the same in many tests."""
    with pytest.MonkeyPatch.context() as patch:
        parse_each_file_once(patch)
        compose_each_command_once(patch)
        yield


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
def trained_digits(tmp_path_factory, worker_id) -> Path:
    """A small run that has learned something: 40 epochs on all digits. For reading; trained once for all workers."""
    root = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        root = root.parent
    with FileLock(root / "trained_digits.lock"):
        if not (root / "trained_digits").exists():
            train_in(root, "run.name=trained_digits", "trainer.epochs=40", "data.subset=null", "batch_size=128")
    return root / "trained_digits"
