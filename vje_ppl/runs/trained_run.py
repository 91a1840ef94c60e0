"""Using a trained run: load it, embed images."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from vje_ppl.data.feature_views import FirstView, as_pixels
from vje_ppl.data.fingerprint import data_root, differences, fingerprint
from vje_ppl.data.image_set import ImageData
from vje_ppl.data.preprocess import Preprocess
from vje_ppl.errors import UserError
from vje_ppl.methods.joint_embedding import JointEmbedding
from vje_ppl.methods.method import Method
from vje_ppl.program.moments import moments
from vje_ppl.runs import checkpoint
from vje_ppl.runs.foreign_state import MODEL, check_state, check_text
from vje_ppl.runs.saved_model import read_model
from vje_ppl.settings.build import build_augment, build_method
from vje_ppl.settings.groups import groups, method_name

type Images = Shaped[Tensor, "N ..."] | Shaped[np.ndarray, "N ..."]

#: How far rounding may take floats out of [0, 1], as in scikit-learn's `MinMaxScaler`.
_ROUNDING = 1e-6


class Embedding(NamedTuple):
    """Embeddings of N images, with the moments of their posteriors.

    Attributes:
        z: the encoder's embeddings, shape (N, D).
        mean: means of the posterior's draws, shape (N, D): μ for the Normal guides, Monte Carlo for a flow;
            None for a method without a posterior, such as the baselines.
        scale: their standard deviations, shape (N, D): σ for the Normal guides, Monte Carlo for a flow; or None.
    """

    z: Float[Tensor, "N D"]
    mean: Float[Tensor, "N D"] | None = None
    scale: Float[Tensor, "N D"] | None = None


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A trained run, in evaluation mode.

    Attributes:
        module: the encoder and everything trained with it; for VJE, a `JointEmbedding`.
        config: the resolved configuration.
        epoch: completed epochs of the checkpoint.
        preprocess: how images are prepared for evaluation.
        fingerprint: digests of its training data, from `vje_ppl.data.fingerprint`; None if unknown.
        image_size: side in pixels of the data set's images; None if unknown.
        in_memory: whether the images of its training were held in memory, all of one size; None if unknown.
    """

    module: Method
    preprocess: Preprocess
    config: DictConfig
    epoch: int
    fingerprint: Mapping[str, str] | None = None
    image_size: int | None = None
    in_memory: bool | None = None

    @property
    def program(self) -> JointEmbedding:
        """Guide, model and objective.

        Raises:
            UserError: for a method that is not a probabilistic program.
        """
        program = self.module.program
        if program is None:
            raise UserError(
                f"The run's method, {method_name(self.config)}, is not a probabilistic program; give a run with "
                f"method=vje."
            )
        return program

    def data_changes(self, data: ImageData, root: str | None = None) -> str | None:
        """Return a sentence on how images differ from those of the run's training and test; None if they do not.

        Args:
            data: the images.
            root: their folder, if it is not the run's own.
        """
        place = data_root(self.config)
        lines = differences(self.fingerprint, fingerprint(data), place, root or place)
        if not lines:
            return None
        what = "it may have learned from test images" if len(lines) > 1 or not lines[0].startswith("test") else ""
        sentence = f"These are not the images that the run was trained and tested on ({'; '.join(lines)})"
        return f"{sentence}: {what}." if what else f"{sentence}."

    @torch.no_grad()
    def embed(self, images: Images, batch_size: int = 256) -> Embedding:
        """Embed images as in evaluation: resized and cropped to the training size, normalized, no augmentation.

        Args:
            images: a tensor or array of shape (N, C, H, W): whole numbers in 0..255, or floats in [0, 1]; for a run on
                features, vectors of shape (N, D), or (N, V, D), of which the first of each image is used.
            batch_size: images at a time.

        Returns:
            `Embedding(z, mean, scale)`, each (N, D), float32, on the module's device; mean and scale are None for a
            method without a posterior.

        Raises:
            ValueError: for another shape or range.
        """
        images = as_given(images, self.preprocess, "embed")
        device = next(self.module.parameters()).device
        program, parts = self.module.program, []
        for chunk in images.split(batch_size):
            z = self.module.embed(self.preprocess(chunk.to(device)))
            parts.append((z, *(() if program is None else moments(program.guide.infer(z)))))
        return Embedding(*(torch.cat(column) for column in zip(*parts, strict=True)))


def as_tensor(given: Any) -> Tensor:
    """Return a tensor as it is, and an array of any layout, or a list of numbers, as a tensor.

    Raises:
        TypeError: for an array of objects or texts.
        ValueError: for a list of lists of several lengths.
    """
    if isinstance(given, Tensor):
        return given
    return torch.from_numpy(np.require(given, requirements=["C", "W"]))  # copies one that is reversed or read-only


def as_given(images: Images, preprocess: Preprocess, use: str) -> Shaped[Tensor, "N C H W"]:
    """Return images as bytes, or feature vectors as pixels: the form in which a run holds its data.

    Args:
        images: see `TrainedRun.embed`.
        preprocess: the run's.
        use: what they are for, for the errors.

    Raises:
        ValueError: for another shape, type or range.
    """
    images = as_tensor(images)
    if not isinstance(preprocess, FirstView):
        return image_bytes(images, use)
    expected = len(preprocess.normalize.mean)
    vectors = images.unsqueeze(1) if images.dim() == 2 else images
    if vectors.dim() != 3 or vectors.shape[2] != expected or not vectors.is_floating_point():
        raise ValueError(
            f"{use} expects feature vectors of length {expected}, floats of shape (N, {expected}) or (N, V, "
            f"{expected}), got {images.dtype} of shape {tuple(images.shape)}."
        )
    return as_pixels(vectors.float())


def image_bytes(images: Shaped[Tensor, "N ..."], use: str) -> UInt8[Tensor, "N C H W"]:
    """Return images as bytes.

    Args:
        images: shape (N, C, H, W): whole numbers in 0..255, or floats in [0, 1].
        use: what they are for, for the errors.

    Raises:
        ValueError: for another shape or range.
    """
    if images.dim() != 4:
        raise ValueError(f"{use} expects images of shape (N, C, H, W), got {tuple(images.shape)}.")
    if images.is_floating_point():
        if len(images) and not (images.min() >= -_ROUNDING and images.max() <= 1 + _ROUNDING):
            raise ValueError(
                f"{use} expects floats in [0, 1], or bytes in 0..255, got {images.dtype} from "
                f"{images.min().item():g} to {images.max().item():g}; divide by 255, or convert to torch.uint8."
            )
        return (images.clamp(0, 1) * 255).round().to(torch.uint8)
    if images.dtype == torch.uint8:
        return images
    wide = images.long()  # torch has no extremes of unsigned integers
    low, high = (int(wide.min()), int(wide.max())) if wide.numel() else (0, 0)
    if images.dtype == torch.bool or low < 0 or high > 255:
        raise ValueError(
            f"{use} expects bytes in 0..255, or floats in [0, 1], got {images.dtype} from {low} to {high}; "
            "scale them to one of the two."
        )
    return images.to(torch.uint8)


def load(run: str | os.PathLike[str], device: str = "cpu", trust_targets: bool = False) -> TrainedRun:
    """Load a run from its folder.

    Args:
        run: the run folder, such as `runs/digits-1a2b3c4d`; or an export of `vje_ppl.export`, the folder or its
            `model.safetensors`.
        device: where to put it.
        trust_targets: whether the configuration may name classes outside `vje_ppl`. Loading then runs code that the
            configuration names, so set it only for runs that you trust.

    Returns:
        The run at its last good checkpoint.

    Raises:
        UserError: if there is no run, its checkpoint is damaged, a target is not trusted, or there is no such device.
    """
    check_device(device)
    state = model_state(Path(run))
    if not trust_targets:
        check_text(state["config"], Path(run))
    config = OmegaConf.create(state["config"])
    missing = [group for group in groups(config) if not isinstance(config.get(group), DictConfig)]
    if missing:
        raise UserError(f"The configuration in {run} has no {missing[0]}: vje_ppl.train did not write it.")
    channels, image_size = state["data"]["channels"], state["data"]["image_size"]
    augment = build_augment(config, channels, image_size, trust_targets)
    module = build_method(config, channels, augment.size, trust_targets)
    try:
        module.load_state_dict(state["module"])
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"The weights in {run} do not fit its configuration: {reason}.") from error
    found = state["data"].get("fingerprint")
    is_sound = isinstance(found, Mapping) and all(isinstance(one, str) for pair in found.items() for one in pair)
    known = found if is_sound else None
    held = state["data"].get("in_memory")
    in_memory = held if isinstance(held, bool) else None
    trained = module.to(device).eval()
    return TrainedRun(trained, augment.evaluation, config, state["epoch"], known, image_size, in_memory)


def check_device(name: str) -> None:
    """Refuse a device that torch does not have here.

    Raises:
        UserError: if it is unknown or not available.
    """
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        raise UserError(
            f"device expects cpu, or cuda or mps if torch finds such a device here, got {name}; give device='cpu'."
        ) from error


def model_state(path: Path) -> dict[str, Any]:
    """Return the state of the last good checkpoint of a run folder, or of an export.

    Raises:
        UserError: if there is none, or it is damaged.
    """
    if not path.exists():
        raise UserError(f"load expects a run folder, but there is no {path}; give its path.")
    exported = path if path.suffix == ".safetensors" else path / "model.safetensors"
    if exported.is_file():
        state = read_model(exported)
    else:
        latest = checkpoint.load_latest(path / "checkpoints")
        if latest is None:
            raise UserError(f"load expects a run folder, but {path} has no checkpoints/last.pt.")
        state = latest.state
    check_state(state, path, MODEL)
    return state
