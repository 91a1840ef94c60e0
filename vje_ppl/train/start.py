"""The weights that a new run starts from: a file's, timm's, or another run's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import Tensor

from vje_ppl.data.feature_views import FeatureViews, mean_and_scale
from vje_ppl.data.image_set import ImageSet
from vje_ppl.errors import UserError
from vje_ppl.methods.method import Method
from vje_ppl.networks.given_features import GivenFeatures
from vje_ppl.networks.timm_encoder import pretrained_state
from vje_ppl.runs.encoder_weights import load_weights
from vje_ppl.runs.trained_run import model_state
from vje_ppl.runs.weights_file import read_tensors
from vje_ppl.settings.build import starting_options
from vje_ppl.settings.checks import as_list


def set_scaling(module: Method, images: ImageSet) -> None:
    """Fit the scaling of an encoder of given features to the training features; other encoders have none."""
    for encoder in module.encoders:
        if isinstance(encoder, GivenFeatures) and isinstance(images, FeatureViews):
            encoder.set_scaling(*mean_and_scale(images.features))


def load_start(config: DictConfig, module: Method, channels: int, image_size: int) -> list[str]:
    """Load the weights that a configuration's new run starts from, and return a line on each source.

    Args:
        config: the whole configuration.
        module: what will be trained, with random weights.
        channels: channels of an image.
        image_size: height and width of a view, in pixels.

    Raises:
        UserError: for several sources of the encoder's weights, and for a source that does not fit.
    """
    options = starting_options(config)
    weights, pretrained = options.get("weights"), options.get("pretrained", False)
    # Runs of earlier versions have neither key.
    init, parts = config.get("init"), as_list(config.get("init_parts") or ["encoder"])
    if not isinstance(pretrained, bool):
        raise UserError(f"encoder.pretrained expects true or false, got {pretrained}.")
    sources = {
        f"encoder.weights={weights}": weights is not None,
        "encoder.pretrained=true": pretrained,
        f"init={init}": init is not None and "encoder" in parts,
    }
    given = [source for source, is_given in sources.items() if is_given]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} both give the encoder's weights; leave out all but one.")
    lines = []
    if weights is not None:
        tensors = read_tensors(Path(weights), "encoder.weights")
        lines.append(load_weights(module.encoders, tensors, f"encoder.weights={weights}"))
    if pretrained:
        lines.append(_load_pretrained(config, module, channels, image_size))
    if init is not None:
        lines += _load_parts(init, parts, module, config)
    frozen = options.get("freeze", False)
    if frozen and not given:
        lines.append(f"warning: encoder.freeze={frozen} without weights to start from: random weights stay as they are")
    return lines


def _load_pretrained(config: DictConfig, module: Method, channels: int, image_size: int) -> str:
    encoder = module.encoders[0]
    try:
        state = pretrained_state(config.encoder.name, encoder, channels, image_size)
    except ValueError as error:
        raise UserError(str(error)) from error
    return load_weights(module.encoders, state, f"encoder.pretrained=true, {config.encoder.name}")


def _load_parts(run: str, parts: list[str], module: Method, config: DictConfig) -> list[str]:
    """Load parts of another run into a new one."""
    path = Path(run)
    if not path.exists():
        raise UserError(f"init expects a run folder or an export, but there is no {run}; give its path.")
    if path.is_file() and path.suffix != ".safetensors":
        raise UserError(
            f"init expects a run folder or an export, got the file {run}; give its folder, or encoder.weights={run}."
        )
    if parts == ["encoder"] and isinstance(module.encoders[0], GivenFeatures):
        raise UserError(
            "the encoder of feature vectors only scales them, and has nothing to start from; give init_parts=[guide], "
            "or init_parts=[encoder,guide] to scale new vectors as those of the other run."
        )
    state = model_state(path)
    weights, lines = state["module"], []
    if "encoder" in parts:
        lines += _other_normalization(run, state["config"].get("augment"), config.augment)
        encoder = _below(weights, "guide.encoder.") or _below(weights, "encoder.")
        lines.append(load_weights(module.encoders, encoder, f"init={run}"))
    if "guide" in parts:
        lines.append(_load_guide(run, weights, module))
    return lines


def _other_normalization(run: str, theirs: Any, ours: Any) -> list[str]:
    """Return a line if the encoder gets images on another scale than in the run that trained it."""
    before, now = ({key: side.get(key) for key in ("mean", "std")} for side in (theirs or {}, ours))
    if None in (*before.values(), *now.values()) or all(_numbers(before[key]) == _numbers(now[key]) for key in before):
        return []
    keys = " ".join(f"augment.{key}={_numbers(value)}".replace(", ", ",") for key, value in before.items())
    return [f"warning: init={run} was trained with another normalization of images; give {keys} to keep it"]


def _numbers(values: Any) -> list[float]:
    return [float(value) for value in as_list(values)]


def _load_guide(run: str, weights: Mapping[str, Tensor], module: Method) -> str:
    """Load the guide without its encoder.

    Raises:
        UserError: if one of the two runs has no guide, or the two guides differ.
    """
    found = {name: value for name, value in _below(weights, "guide.").items() if not name.startswith("encoder.")}
    guide: Any = getattr(module.program, "guide", None)
    if guide is None or not found:
        lacks = "this run" if guide is None else run
        raise UserError(f"init_parts=[guide] needs method=vje in both runs, but {lacks} has no guide; give [encoder].")
    own = {name: value for name, value in guide.state_dict().items() if not name.startswith("encoder.")}
    other = [name for name in own.keys() | found.keys() if _shape(own.get(name)) != _shape(found.get(name))]
    if other:
        name = min(other)
        raise UserError(
            f"init={run} has another guide: {name} is {_shape(found.get(name))} there and {_shape(own.get(name))} in "
            "this run; give the same guide and encoder, or init_parts=[encoder]."
        )
    guide.load_state_dict(found, strict=False)
    return f"init={run}: {len(found)} of {len(own)} tensors of the guide"


def _below(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _shape(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else "×".join(map(str, tensor.shape)) or "a number"
