"""All weights of a run in a safetensors file, from which `vje_ppl.load` restores the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vje_ppl.errors import UserError
from vje_ppl.runs.files import write_atomically

#: The file of an export that holds the whole run.
MODEL = "model.safetensors"


def write_model(path: Path, weights: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write every weight, and in the file's header everything else that `load` needs.

    Args:
        path: the file.
        weights: the module's state by name.
        facts: the rest of a checkpoint's state that `load` reads, in plain containers.
    """
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
    write_tensors(state, path, {"vje_ppl": json.dumps(facts)})


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write tensors by name, whole or not at all."""
    write_atomically(path, save(dict(tensors), metadata=dict(metadata)))


def read_model(path: Path) -> dict[str, Any]:
    """Read what `write_model` wrote, in the form of a checkpoint's state.

    Raises:
        UserError: if the file is not an exported run, or is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts = dict(json.loads((file.metadata() or {})["vje_ppl"]))
            module = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, TypeError, OSError, RecursionError) as error:
        raise UserError(
            f"{path} is not an exported run, or is damaged ({type(error).__name__}); export the run with python -m "
            f"vje_ppl.export "
            "run=<folder>."
        ) from error
    return {**facts, "module": module}
