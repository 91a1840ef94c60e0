"""The tensors in a file of weights, of any program: safetensors, or what `torch.save` wrote."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vje_ppl.errors import UserError


def read_tensors(path: Path, key: str) -> dict[str, Tensor]:
    """Read all tensors of a file, on the CPU; runs no code from it.

    Args:
        path: a safetensors file, or a file that `torch.load(weights_only=True)` reads.
        key: the option that names the file, for errors.

    Returns:
        Tensors by name; those of a mapping within a mapping, such as `state_dict`, have both names, with a dot between.

    Raises:
        UserError: if there is no such file, or it holds no tensors by name.
    """
    if path.is_dir():
        raise UserError(f"{key} expects a file of weights, got the folder {path}; give its file, or init={path}.")
    if not path.is_file():
        raise UserError(f"{key} expects a file of weights, but there is no file {path}; give its path.")
    try:
        content: Any = load_file(path) if path.suffix == ".safetensors" else _load(path)
    except SafetensorError as error:
        raise UserError(f"{key}={path} is not a safetensors file, or is damaged ({error}).") from error
    except (OSError, EOFError, RuntimeError, ValueError, LookupError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{key}={path} is not a file of weights that torch.load(weights_only=True) reads ({type(error).__name__}); "
            "save a state dict, with torch.save(model.state_dict(), path) or as safetensors."
        ) from error
    tensors = dict(_named(content, ""))
    if not tensors:
        raise UserError(
            f"{key}={path} holds no tensors by name; save a state dict, with torch.save(model.state_dict(), path)."
        )
    return tensors


def _load(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _named(content: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    if not isinstance(content, Mapping):
        return
    for name, value in content.items():
        if isinstance(name, str) and isinstance(value, Tensor):
            yield f"{prefix}{name}", value.detach()
        elif isinstance(name, str):
            yield from _named(value, f"{prefix}{name}.")
