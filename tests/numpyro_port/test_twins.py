"""Every part has its twin, and the two backends keep out of each other's way."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import vje_ppl.distributions
import vje_ppl.guides
import vje_ppl.models
import vje_ppl.models.likelihoods
import vje_ppl.models.priors
import vje_ppl.numpyro_port
from tests.helpers.cases import NOT_CERTIFIED
from vje_ppl.errors import UserError
from vje_ppl.settings.twins import twin_name

PACKAGES = (
    vje_ppl.models,
    vje_ppl.models.priors,
    vje_ppl.models.likelihoods,
    vje_ppl.guides,
    vje_ppl.distributions,
)

#: What JAX does by itself: types, gradients, and constants computed once. Densities that use them have twins.
NEEDS_NONE = {f"vje_ppl.distributions.{name}" for name in ("promoted", "of_constant", "tail", "tangent_distance")}


def _modules():
    for package in PACKAGES:
        for found in pkgutil.iter_modules(package.__path__):
            name = f"{package.__name__}.{found.name}"
            if not found.ispkg and name not in NEEDS_NONE and found.name not in NOT_CERTIFIED:
                yield name


def _missing(module: str) -> list[str]:
    """Public classes and functions of a module that its twin lacks, as sentences."""
    twin = twin_name(module)
    part = importlib.import_module(module)
    try:
        port = importlib.import_module(twin)
    except ModuleNotFoundError:
        return [f"{module} has no NumPyro twin; write {twin}."]
    names = [
        name
        for name, value in vars(part).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module
    ]
    return [f"{module}.{name} has no NumPyro twin; write {twin}.{name}." for name in names if not hasattr(port, name)]


@pytest.mark.parametrize("module", sorted(_modules()))
def test_every_certified_part_has_a_twin_of_the_same_name(module):
    missing = _missing(module)
    assert not missing, " ".join(missing)


def test_a_missing_twin_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "vje_ppl.models.priors.brand_new", vje_ppl.models)
    assert _missing("vje_ppl.models.priors.brand_new") == [
        "vje_ppl.models.priors.brand_new has no NumPyro twin; write vje_ppl.numpyro_port.priors.brand_new."
    ]


def test_a_part_from_elsewhere_can_have_no_twin():
    with pytest.raises(UserError, match=r"my_module\.MyPrior cannot have one"):
        twin_name("my_module.MyPrior")


def test_the_port_never_imports_torch():
    root = Path(vje_ppl.numpyro_port.__file__).parent
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] not in ("torch", "pyro"), f"{path} imports {name}"
                assert not name.startswith("vje_ppl.") or name.startswith("vje_ppl.numpyro_port"), f"{path}: {name}"


def test_importing_the_port_changes_no_setting_of_jax():
    code = (
        "import os; before = dict(os.environ); import jax; x64 = jax.config.jax_enable_x64;"
        "import vje_ppl.numpyro_port.vje, vje_ppl.crosscheck.numpyro_side, vje_ppl.numpyro_port.objective;"
        "assert jax.config.jax_enable_x64 == x64 == False;"
        "assert not jax._src.xla_bridge._backends, 'a backend was started';"
        "assert os.environ.get('JAX_PLATFORMS') == before.get('JAX_PLATFORMS')"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
