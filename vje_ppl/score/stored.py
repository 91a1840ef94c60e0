"""Files beside a run's checkpoint, or in an export, that spare computing from the run's images again."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vje_ppl.errors import UserError
from vje_ppl.measures.anomaly.distances import Mahalanobis
from vje_ppl.runs.files import json_lines, read_json
from vje_ppl.runs.files import write_atomically as write
from vje_ppl.runs.saved_model import MODEL, write_tensors
from vje_ppl.score.setting import ScoreSetting
from vje_ppl.settings.checks import is_number
from vje_ppl.settings.identity import canonical_json

FOLDER = "calibration"

_log = logging.getLogger(__name__)


def is_export(run: Path) -> bool:
    """Return whether `vje_ppl.load` finds an export at a path, rather than a run folder."""
    return run.suffix == ".safetensors" or (run / MODEL).is_file()


@dataclass(frozen=True, eq=False)
class Stored:
    """The files of one run at one checkpoint, or of its export.

    Attributes:
        folder: the run folder, or the folder of the export.
        is_export: whether it is an export.
        weights: the weights of the run by name.
    """

    folder: Path
    is_export: bool
    weights: Mapping[str, Tensor]

    @classmethod
    def of(cls, run: Path, weights: Mapping[str, Tensor]) -> Stored:
        """Return the files of the run or export that `vje_ppl.load` loads from a path."""
        return cls(run.parent if run.suffix == ".safetensors" else run, is_export(run), weights)

    @cached_property
    def checkpoint(self) -> str:
        """A digest of all weights, the same for a checkpoint and its export."""
        found = hashlib.sha256()
        for name, tensor in sorted(self.weights.items()):
            found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return found.hexdigest()[:16]

    def gaussian_path(self, setting: ScoreSetting) -> Path:
        """Return the file of the Gaussian fitted to features of the training images."""
        return self._path("gaussian", {"features": setting.features, "bank": setting.bank}, "safetensors")

    def gaussian(self, setting: ScoreSetting, dim: int) -> Mahalanobis | None:
        """Return the Gaussian of a score of `dim` features; None if it is not stored, or damaged."""
        path = self.gaussian_path(setting)
        if not path.is_file():
            return None
        with suppress(SafetensorError, OSError, KeyError):
            tensors = load_file(path)
            mean, precision = tensors["mean"], tensors["precision"]
            if mean.dtype == precision.dtype == torch.float64 and (*mean.shape, *precision.shape) == (dim, dim, dim):
                return Mahalanobis(mean, precision)
        return None

    def keep_gaussian(self, setting: ScoreSetting, gaussian: Mahalanobis) -> None:
        """Store a Gaussian."""
        tensors = {"mean": gaussian.mean.cpu().contiguous(), "precision": gaussian.precision.cpu().contiguous()}
        path = self.gaussian_path(setting)
        self._keep(path, lambda: write_tensors(tensors, path, {"checkpoint": self.checkpoint}))

    def scores_path(self, setting: ScoreSetting, images: str) -> Path:
        """Return the file of the scores of calibration images with a digest."""
        return self._path("scores", {"score": setting.facts, "images": images}, "json")

    def scores(self, setting: ScoreSetting, images: str) -> Float64[np.ndarray, " n"] | None:
        """Return the scores of calibration images; None if they are not stored, or damaged."""
        with suppress(UserError):
            found = (read_json(self.scores_path(setting, images)) or {}).get("scores")
            if isinstance(found, list) and found and all(map(is_number, found)) and np.isfinite(found).all():
                return np.array(found, dtype=np.float64)
        return None

    def keep_scores(self, setting: ScoreSetting, images: str, scores: Float64[np.ndarray, " n"]) -> None:
        """Store the scores of calibration images."""
        path = self.scores_path(setting, images)
        facts = {"checkpoint": self.checkpoint, "images": images, "score": setting.facts, "scores": scores.tolist()}
        self._keep(path, lambda: write(path, json_lines(facts)))

    def _path(self, kind: str, facts: Mapping[str, Any], ending: str) -> Path:
        text = canonical_json({"checkpoint": self.checkpoint, **facts})
        return self.folder / FOLDER / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.{ending}"

    def _keep(self, path: Path, write_file: Any) -> None:
        try:
            path.parent.mkdir(exist_ok=True)
            write_file()
        except (OSError, UserError) as error:
            _log.warning("%s is not stored and will be computed again: %s", path, error)
