"""What all tests share."""

from __future__ import annotations

import pyro
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra


@pytest.fixture(autouse=True)
def _clean_slate():
    """A fixed seed, an empty Pyro parameter store, argument validation on, and Hydra as after an import."""
    GlobalHydra.instance().clear()
    torch.manual_seed(0)
    pyro.clear_param_store()
    pyro.enable_validation(True)
    yield
    pyro.clear_param_store()
