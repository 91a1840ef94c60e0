"""The package as it installs: a wheel holds all of it, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "build", "dist", "*.egg-info", ".*_cache", "__pycache__")


def left_out(folder: str, names: list[str]) -> set[str]:
    """What a copy of the checkout goes without, such as the runs that lie in it."""
    return LEFT_OUT(folder, names) | ({"runs"} if Path(folder) == ROOT else set())


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the checkout, since building leaves files behind."""
    return shutil.copytree(ROOT, tmp_path_factory.mktemp("copy") / "vje_ppl", ignore=left_out)


@pytest.fixture(scope="module")
def wheel(checkout):
    return built(checkout, "wheel")


def built(checkout, kind):
    """Build as pip does, and return the file; fails if the build prints a warning, which pip would show."""
    build = f"import setuptools.build_meta as backend; print(backend.build_{kind}('dist'))"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-W", "default", "-c", build]
    result = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "warning" not in (result.stdout + result.stderr).lower()
    return checkout / "dist" / result.stdout.splitlines()[-1]


def test_wheel_holds_every_source_file_inside_the_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.split("/")[0] for name in names} == {"vje_ppl", "vje_ppl-0.1.0.dist-info"}
    folders = {
        "vje_ppl": "vje_ppl",
        "models": "vje_ppl/models",
        "guides": "vje_ppl/guides",
        "configs": "vje_ppl/configs",
    }
    sources = {
        f"{inside}/{path.relative_to(ROOT / folder)}"
        for folder, inside in folders.items()
        for pattern in ("*.py", "*.yaml", "py.typed", "*.css", "*.jinja")
        for path in (ROOT / folder).rglob(pattern)
    }
    assert sources <= names


def test_editable_install_puts_the_checkout_on_the_path(checkout):
    with zipfile.ZipFile(built(checkout, "editable")) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith(".pth"))
        assert archive.read(path).decode().split() == [str(checkout)]
    assert {(ROOT / "vje_ppl" / name).resolve() for name in ("models", "guides", "configs")} == {
        ROOT / name for name in ("models", "guides", "configs")
    }


def test_wheel_trains_in_an_empty_folder(wheel, tmp_path):
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    environment = os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    options = ["trainer.epochs=1", "data.subset=128", "batch_size=64", "knn.every=0", "run.name=a"]
    program = (
        "import atexit, runpy, sys, vje_ppl.models\n"
        "atexit.register(lambda: print(vje_ppl.models.__file__, *sys.modules.keys() & {'jax', 'numpyro'}))\n"
        "runpy.run_module('vje_ppl.train', run_name='__main__', alter_sys=True)"
    )
    command = [sys.executable, "-c", program, *options]
    found = subprocess.run(command, cwd=empty, env=environment, check=True, capture_output=True, text=True)
    assert (empty / "runs" / "a" / "metrics.json").is_file()
    # Training imports neither JAX nor NumPyro.
    assert found.stdout.splitlines()[-1] == f"{site}/vje_ppl/models/__init__.py"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_old_python_gets_one_sentence(checkout, tmp_path):
    python = tmp_path / "python3.11"
    python.write_text('#!/bin/sh\ncase "$*" in *version_info*) exit 1;; *) echo Python 3.11.7;; esac\n')
    python.chmod(0o755)
    result = subprocess.run(
        ["make", "--no-print-directory", "train", f"PYTHON={python}"], cwd=checkout, capture_output=True, text=True
    )
    assert result.returncode != 0
    (sentence,) = result.stdout.splitlines()
    assert "needs Python 3.12 or newer" in sentence
    assert "3.11.7" in sentence
    assert not (checkout / ".venv").exists()
