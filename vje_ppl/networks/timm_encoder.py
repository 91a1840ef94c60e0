"""Any image model of timm as an encoder."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vje_ppl.networks.convolution import replace_strided

INSTALL = 'encoder=timm takes its models from timm, which is not installed; pip install "vje_ppl[timm]"'

#: Of transformers with windows: a weight whose size follows from the view's, and buffers that follow from it alone.
_TABLE = "relative_position_bias_table"
_OF_SIZE = ("relative_position_index", "attn_mask")


class ModelInput(NamedTuple):
    """The images that a model of timm was trained on.

    Attributes:
        size: side in pixels.
        patch: side of a patch in pixels, which divides the side of a view; 1 without patches.
        mean: of the pixel values in [0, 1], per channel.
        std: standard deviations, per channel.
    """

    size: int
    patch: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def timm_encoder(name: str, channels: int = 3, image_size: int = 224) -> nn.Module:
    """Return a model of timm, without its classifier and with random weights; its width is the attribute `dim`.

    Position embeddings have the size of the views.

    Args:
        name: timm's name, such as "vit_small_patch16_224".
        channels: input channels.
        image_size: height and width of the views, in pixels.

    Raises:
        ValueError: if timm is not installed or has no such model, or if the model does not give a vector per view.
    """
    patch = model_input(name).patch
    if image_size % patch:
        down, up = image_size // patch * patch, (image_size // patch + 1) * patch
        sizes = f"{down} or {up}" if down else str(up)
        raise ValueError(
            f"{name} cuts views into patches of {patch} pixels, so augment.size expects a multiple of {patch}, got "
            f"{image_size}; give augment.size={sizes}"
        )
    model = _create(name, channels, image_size)
    replace_strided(model)
    try:
        with torch.no_grad():
            features = model.eval()(torch.zeros(1, channels, image_size, image_size))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ValueError(
            f"{name} cannot embed views of {image_size} pixels ({' '.join(str(error).split())[:100]}); give another "
            "augment.size or another model"
        ) from error
    if not isinstance(features, Tensor) or features.dim() != 2:
        raise ValueError(f"{name} does not pool an image to one vector; choose another model of timm")
    model.dim = features.shape[1]  # type: ignore[assignment]
    return model.train()


def model_input(name: str) -> ModelInput:
    """Return the images that a model was trained on, by timm's settings.

    Raises:
        ValueError: if timm is not installed, or has no such model.
    """
    timm = _timm()
    if not timm.is_model(name):  # so that a name such as `hf-hub:...` downloads nothing
        near = get_close_matches(name, timm.list_models(), n=1)
        hint = f"did you mean {near[0]}?" if near else "timm.list_models() has the names"
        raise ValueError(f"timm has no model {name}; {hint}")
    try:
        with torch.device("meta"):
            model = timm.create_model(name, num_classes=0)
    except RuntimeError as error:  # of a tag
        raise ValueError(f"timm cannot build {name}: {' '.join(str(error).split())}") from error
    settings = timm.data.resolve_model_data_config(model)
    patches = getattr(model, "patch_embed", None)
    side, stride = getattr(patches, "patch_size", 1), getattr(getattr(patches, "proj", None), "stride", 1)
    patch = _largest(side) if _largest(side) == _largest(stride) else 1  # otherwise they overlap, and any size will do
    return ModelInput(settings["input_size"][1], patch, tuple(settings["mean"]), tuple(settings["std"]))


def _largest(side: int | Sequence[int]) -> int:
    return max(side) if isinstance(side, Sequence) else side


def synchronized[M: nn.Module](module: M) -> M:
    """Return a module whose batch normalization takes its statistics over all processes.

    torch's own function would take the activations of those layers of timm that normalize and activate in one.
    """
    if "timm" not in sys.modules:
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    from timm.layers import convert_sync_batchnorm

    converted: M = convert_sync_batchnorm(module)
    return converted


def pretrained_state(name: str, encoder: nn.Module, channels: int, image_size: int) -> dict[str, Tensor]:
    """Return the weights that timm publishes for a model, fitted to the encoder's views; downloads them if needed.

    Args:
        name: timm's name.
        encoder: what `timm_encoder` returned for that name.
        channels: its input channels.
        image_size: height and width of the views, in pixels.

    Raises:
        ValueError: if there are none, or they cannot be downloaded.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            return _create(name, channels, image_size, pretrained=True).state_dict()
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"encoder.pretrained=true could not get timm's weights of {name} ({type(error).__name__}); they need the "
            "internet once, or give their file as encoder.weights=<file>"
        ) from error


def resized(encoder: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights fitted to the size of an encoder's views, if it is a transformer of timm.

    Position embeddings and tables of relative positions are interpolated. What follows from the size alone is left out.

    Args:
        encoder: any encoder.
        tensors: weights by the encoder's names.
    """
    fitted, own = _with_positions(encoder, tensors), encoder.state_dict()
    if not any(name.endswith(_TABLE) for name in own):
        return fitted
    convert = getattr(sys.modules.get(type(encoder).__module__), "checkpoint_filter_fn", None)
    if convert is None:
        return fitted
    fitted = {name: one for name, one in fitted.items() if name in own or not name.endswith(_OF_SIZE)}
    try:
        with warnings.catch_warnings(action="ignore"):  # torch's, on the speed of what timm calls
            tables = convert(dict(fitted), encoder)
    except (RuntimeError, ValueError, KeyError, AttributeError):  # weights of another model, which the caller refuses
        return fitted
    return {name: tables.get(name, one) if name.endswith(_TABLE) else one for name, one in fitted.items()}


def _with_positions(encoder: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    given, own = tensors.get("pos_embed"), getattr(encoder, "pos_embed", None)
    if given is None or own is None or given.shape == own.shape or given.dim() != 3 or own.dim() != 3:
        return dict(tensors)
    from timm.layers import resample_abs_pos_embed

    patches: Any = getattr(encoder, "patch_embed", None)
    prefix = 0 if getattr(encoder, "no_embed_class", False) else getattr(encoder, "num_prefix_tokens", 0)
    side = round((given.shape[1] - prefix) ** 0.5)
    if patches is None or given.shape[-1] != own.shape[-1] or side**2 + prefix != given.shape[1]:
        return dict(tensors)
    fitted = resample_abs_pos_embed(given, new_size=patches.grid_size, num_prefix_tokens=prefix)
    return {**tensors, "pos_embed": fitted}


def stages(encoder: nn.Module) -> dict[str, int]:
    """Return the stage of each parameter of a model of timm, by timm's grouping; the stem belongs to the first."""
    from timm.models import group_parameters

    matcher: Any = encoder.group_matcher
    groups = group_parameters(encoder, matcher(coarse=True), reverse=True)
    return {name: max(1, int(group)) for name, group in groups.items()}


def _create(name: str, channels: int, image_size: int, pretrained: bool = False) -> nn.Module:
    options = {"pretrained": pretrained, "num_classes": 0, "in_chans": channels}
    try:
        return _timm().create_model(name, img_size=image_size, **options)
    except TypeError:  # a network without positions takes images of any size
        return _timm().create_model(name, **options)


def _timm() -> Any:
    if importlib.util.find_spec("timm") is None:
        raise ValueError(INSTALL)
    import timm

    return timm
