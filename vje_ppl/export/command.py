"""A trained run as safetensors and ONNX, with a model card."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Shaped
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from vje_ppl.data.feature_views import FeatureViews, FirstView
from vje_ppl.data.image_set import InMemoryImages
from vje_ppl.errors import UserError
from vje_ppl.export.model_card import model_card
from vje_ppl.export.onnx_graph import compare, write_onnx
from vje_ppl.networks.torchvision_names import torchvision_state
from vje_ppl.program.parameter_store import local_parameters
from vje_ppl.runs.files import write_atomically
from vje_ppl.runs.saved_model import MODEL, write_model, write_tensors
from vje_ppl.runs.trained_run import TrainedRun, load
from vje_ppl.score.prepared import prepare
from vje_ppl.score.setting import default_setting
from vje_ppl.score.stored import FOLDER as CALIBRATION
from vje_ppl.settings.data import load_data


def export(config: DictConfig) -> None:
    """Write the export of a run, and compare its ONNX graph with torch.

    Args:
        config: the composed configuration of `configs/export.yaml`, whose `run` is given.

    Raises:
        UserError: if there is no run, or ONNX and torch disagree.
    """
    folder = Path(config.run)
    run = load(folder, trust_targets=config.trust_targets)
    out = Path(config.out) if config.out else folder / "export"
    out.mkdir(parents=True, exist_ok=True)
    write_model(out / MODEL, run.module.state_dict(), _facts(run))
    metadata = {"stem": str(run.config.encoder.get("stem", "none")), "image_size": str(run.preprocess.size)}
    encoder = run.module.encoder
    assert isinstance(encoder, nn.Module)
    write_tensors(torchvision_state(encoder), out / "encoder.safetensors", metadata)
    outputs = write_onnx(run, out / "model.onnx")
    differences = compare(run, out / "model.onnx", _images(run, config))
    calibrated = _calibrate(run, folder, out, config)
    write_atomically(out / "README.md", model_card(run, folder, outputs, differences, calibrated).encode())
    for name, difference in differences.items():
        print(f"{name:<6} onnxruntime differs from torch by {difference:.1e} of the largest value")
    more = f", {CALIBRATION}/" if calibrated else ""
    print(f"\n{out}: {MODEL}, encoder.safetensors, model.onnx, README.md{more}")


def _calibrate(run: TrainedRun, folder: Path, out: Path, config: DictConfig) -> int:
    """Write what the default score needs beside the weights, if the run kept images for calibration; return how many.

    Raises:
        UserError: if it is not stored with the run, and the run's images are missing or have changed.
    """
    if "calibration" not in (run.fingerprint or {}):
        return 0
    with local_parameters(validate=config.debug):
        ready = prepare(run, folder, default_setting(), data_root=config.data.root, trust_targets=config.trust_targets)
    assert ready.calibration is not None
    ready.copy_to(out)
    return len(ready.calibration.scores)


def _facts(run: TrainedRun) -> dict[str, Any]:
    """Return the facts that `load` needs beside the weights."""
    facts: dict[str, Any] = {
        "config": OmegaConf.to_container(run.config, resolve=True),
        "data": {"channels": len(run.preprocess.normalize.mean), "image_size": run.image_size or run.preprocess.size},
        "epoch": run.epoch,
    }
    if run.in_memory is not None:
        facts["data"]["in_memory"] = run.in_memory
    if run.fingerprint is not None:
        facts["data"]["fingerprint"] = dict(run.fingerprint)
    return facts


def _images(run: TrainedRun, config: DictConfig) -> Shaped[Tensor, "N ..."]:
    """Return test images or features of the run's data, or noise if they are not in memory."""
    changes = {} if config.data.root is None else {"root": config.data.root}
    try:
        data = load_data(run.config, config.trust_targets, **changes)
        differences = run.data_changes(data, config.data.root)
        if differences is not None:
            warnings.warn(differences, stacklevel=1)
        images = data.train if data.test is None else data.test
        if isinstance(images, FeatureViews):
            return images.features[: config.images]
        if isinstance(images, InMemoryImages):
            return images.images[: config.images]
        reason = "the run's images are not held in memory"
    except UserError as error:
        reason = str(error).rstrip(".")
    warnings.warn(f"comparing on noise: {reason}", stacklevel=1)
    size, channels = run.preprocess.size, len(run.preprocess.normalize.mean)
    if isinstance(run.preprocess, FirstView):
        return torch.randn(config.images, channels, generator=torch.Generator().manual_seed(0))
    noise = torch.randint(0, 256, (config.images, channels, size, size), generator=torch.Generator().manual_seed(0))
    return noise.to(torch.uint8)
