"""Building objects from a configuration: Hydra's instantiation, with arguments offered to each part."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterable, Mapping
from functools import partial
from types import FunctionType
from typing import Any

import hydra
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf
from torch import nn

from vje_ppl.data.augment import Augment
from vje_ppl.errors import UserError
from vje_ppl.methods.joint_embedding import JointEmbedding
from vje_ppl.methods.method import Method
from vje_ppl.settings.argument_types import first_mismatch
from vje_ppl.settings.groups import METHOD, PROGRAM, method_name
from vje_ppl.settings.identity import new_addresses

#: Only these packages may be named by a configuration from elsewhere: the rest of vje_ppl has side effects, such as
#: loading another run.
_PARTS = tuple(
    f"vje_ppl.{place}"
    for place in (
        *(
            "data.augment",
            "data.feature_views",
            "data.loaders",
            "data.transforms",
            "distributions",
            "guides",
            "methods",
            "models",
        ),
        *(
            "networks.encoders",
            "networks.given_features",
            "networks.inference_network",
            "networks.timm_encoder",
            "program.objective",
        ),
    )
)

#: Further packages that a part of the configuration may come from, by the part's name.
_ELSEWHERE = {"optimizer": ("torch.optim",)}


def build(config: DictConfig | Mapping[str, Any] | None, part: str, trust_targets: bool = True, **offered: Any) -> Any:
    """Instantiate a part of the configuration.

    Each `_target_`, at any depth, whose constructor has a parameter named in `offered` gets that value, unless the
    configuration sets it. So a prior that declares `dim` gets the embedding width.

    Args:
        config: a node with `_target_`.
        part: the node's key, for messages.
        trust_targets: whether targets other than the parts in `vje_ppl` may be imported and called, which runs their
            code.
        **offered: values by parameter name.

    Raises:
        UserError: if a target is missing, cannot be imported, is not trusted, or refuses its arguments.
    """
    node = new_addresses(OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config)
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise UserError(
            f"{part} expects a configuration with a _target_, the dotted path of a class, got {node!r}; choose an "
            f"option with {part}=..."
        )
    if not trust_targets and "${" in repr(node):
        raise UserError(
            f"{part} contains an unresolved interpolation, which could build a part; write the value itself."
        )
    extended = _offer(dict(node), part, trust_targets, offered)
    if not isinstance(extended, dict):
        _refuse_infinities(node, part)
        return extended
    try:
        built = hydra.utils.instantiate(extended, _convert_="all")  # parts get plain lists and dicts
        _refuse_infinities(node, part)  # a part's own error is more specific
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from error
        if not trust_targets or isinstance(cause, TypeError | ValueError | ImportError | LookupError | ArithmeticError):
            reason = _first_line(error if cause is None else cause)
            raise UserError(f"{part} could not be built from {node['_target_']}: {reason}") from error
        raise
    return built


def build_augment(config: DictConfig, channels: int, image_size: int, trust_targets: bool = True) -> Augment:
    """Build a configuration's recipe for views, in the memory layout that `trainer.channels_last` asks for.

    Args:
        config: the whole configuration.
        channels: channels of an image.
        image_size: height and width of an image, in pixels.
        trust_targets: see `build`.

    Raises:
        UserError: as `build`.
    """
    channels_last = config.trainer.get("channels_last") is not False
    return build(
        config.augment, "augment", trust_targets, channels=channels, image_size=image_size, channels_last=channels_last
    )


#: Keys of `encoder` that training reads: where its weights come from, which of them it leaves as they are, and whether
#: views suit the model. If an encoder's own constructor has a parameter of that name, the key is the constructor's.
STARTING = ("weights", "pretrained", "freeze", "own_input")


def build_encoder(config: DictConfig, channels: int, image_size: int, trust_targets: bool = True) -> nn.Module:
    """Build a configuration's encoder, with random weights.

    Args:
        config: the whole configuration.
        channels: channels of an image.
        image_size: height and width of an augmented view, in pixels.
        trust_targets: see `build`.

    Raises:
        UserError: as `build`.
    """
    node: Any = OmegaConf.to_container(config.encoder, resolve=True)
    others = set(starting_options(config, trust_targets))
    node = {key: value for key, value in node.items() if key not in others} if isinstance(node, dict) else node
    return build(node, "encoder", trust_targets, channels=channels, image_size=image_size)


def starting_options(config: DictConfig, trust_targets: bool = True) -> dict[str, Any]:
    """Return the options of `STARTING` that a configuration's encoder has, apart from its constructor's.

    Raises:
        UserError: as `build`.
    """
    node: Any = new_addresses(OmegaConf.to_container(config.encoder, resolve=True))
    found = {key: node[key] for key in STARTING if key in node} if isinstance(node, dict) else {}
    if not found or "_target_" not in node:
        return found
    own = _parameters(_locate(node["_target_"], "encoder", trust_targets))
    return {key: value for key, value in found.items() if key not in own}


def build_method(config: DictConfig, channels: int, image_size: int, trust_targets: bool = True) -> Method:
    """Build what a configuration trains: VJE, unless it has a `method`.

    Args:
        config: the whole configuration.
        channels: channels of an image.
        image_size: height and width of an augmented view, in pixels.
        trust_targets: see `build`.

    Raises:
        UserError: if a method comes with groups of VJE's program; and as `build`.
    """
    if config.get(METHOD) is None:
        return build_joint_embedding(config, channels, image_size, trust_targets)
    foreign = [group for group in PROGRAM if config.get(group) is not None]
    if foreign:
        raise UserError(
            f"{foreign[0]} is a part of method=vje, but method={method_name(config)} has no such part; leave out "
            f"{foreign[0]}=..., or the ablation that sets it."
        )
    encoder = build_encoder(config, channels, image_size, trust_targets)
    method = build(config.method, "method", trust_targets, encoder=encoder)
    if not isinstance(method, Method):
        raise UserError(f"method expects a subclass of vje_ppl.Method, got {type(method).__name__}.")
    return method


def build_joint_embedding(
    config: DictConfig, channels: int, image_size: int, trust_targets: bool = True
) -> JointEmbedding:
    """Build encoder, guide, prior, likelihood, model and objective, and put them together.

    Args:
        config: the whole configuration.
        channels: channels of an image.
        image_size: height and width of an augmented view, in pixels.
        trust_targets: see `build`.
    """

    def part(name: str, **offered: Any) -> Any:
        return build(config[name], name, trust_targets, **offered)

    encoder: Any = build_encoder(config, channels, image_size, trust_targets)
    guide = part("guide", dim=encoder.dim, encoder=encoder)
    prior = part("prior", dim=encoder.dim)
    likelihood = part("likelihood", dim=encoder.dim)
    model = part("model", dim=encoder.dim, prior=prior, likelihood=likelihood)
    if hasattr(prior, "bind"):
        prior.bind(guide.infer)
    return JointEmbedding(model, guide, part("objective"))


def count_parameters(module: nn.Module) -> int:
    """Count trainable numbers."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def _offer(node: Any, path: str, trust_targets: bool, offered: dict[str, Any]) -> Any:
    """Add offered arguments to a node wherever a target asks for them."""
    if isinstance(node, list):
        return [_offer(item, path, trust_targets, offered) for item in node]
    if not isinstance(node, dict):
        return node
    extended = {key: _offer(value, f"{path}.{key}", trust_targets, offered) for key, value in node.items()}
    if "_target_" in node:
        located = _locate(node["_target_"], path, trust_targets)
        _check_types(located, node, path)
        accepted = _parameters(located)
        extended |= {name: value for name, value in offered.items() if name in accepted and name not in node}
        arguments = {key: value for key, value in extended.items() if key not in ("_target_", "_partial_")}
        if extended.get("_partial_") is True and not any(isinstance(value, dict) for value in arguments.values()):
            # Hydra would check its policy again at each call of such a function, and the hot path calls some of them.
            return partial(located, **arguments) if arguments else located
    return extended


def _check_types(located: Any, node: Mapping[str, Any], path: str) -> None:
    for key in ("_partial_", "_recursive_"):
        if not isinstance(node.get(key, False), bool):
            raise UserError(f"{path}.{key} expects true or false, got {node[key]}.")
    given = {key: value for key, value in node.items() if not isinstance(value, dict)}
    found = first_mismatch(located, given) if callable(located) else None
    if found is not None:
        value = given[found[0]]
        shown = json.dumps(value) if isinstance(value, bool | None) else value
        raise UserError(f"{path}.{found[0]} expects {found[1]}, got {shown}.")


def _refuse_infinities(node: Any, path: str) -> None:
    """Refuse infinities and NaN in a configuration, except where they are a parameter's default.

    Raises:
        UserError: for the first such value.
    """
    if isinstance(node, float) and not math.isfinite(node):
        raise UserError(f"{path} expects a finite number, got {node}.")
    if isinstance(node, list):
        for item in node:
            _refuse_infinities(item, path)
    if isinstance(node, dict):
        own = _defaults(node["_target_"]) if isinstance(node.get("_target_"), str) else {}
        for key, value in node.items():
            if not (isinstance(value, float) and own.get(key) == value):
                _refuse_infinities(value, f"{path}.{key}")


def _defaults(target: str) -> dict[str, Any]:
    try:
        parameters = inspect.signature(hydra.utils.get_object(target)).parameters
    except (TypeError, ValueError):
        return {}
    return {name: parameter.default for name, parameter in parameters.items() if isinstance(parameter.default, float)}


def _locate(target: Any, path: str, trust_targets: bool) -> Any:
    if not isinstance(target, str) or target == "???":
        raise UserError(f"{path}._target_ expects the dotted path of a class, got {target!r}; give {path}._target_=...")
    places = (*_PARTS, *_ELSEWHERE.get(path, ()))
    if not trust_targets and not _is_public_in(places, target):
        raise UserError(_untrusted(path, target))
    try:
        located = hydra.utils.get_object(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"{path}._target_ expects something importable, got {target!r}: {_first_line(error.__cause__ or error)}; "
            "run from the folder that holds the module, or install it."
        ) from error
    # A name may lead through one of our modules to something that the module imports, so check where it was defined.
    if not trust_targets and not (
        isinstance(located, type | FunctionType)
        and "." not in located.__qualname__  # not through a class
        and _is_public_in(places, f"{located.__module__}.{located.__qualname__}")
    ):
        raise UserError(_untrusted(path, target))
    return located


def _is_public_in(places: Iterable[str], name: str) -> bool:
    public = not any(part.startswith("_") for part in name.split("."))
    return public and any(name.startswith(f"{place}.") for place in places)


def _untrusted(path: str, target: str) -> str:
    return (
        f"{path}._target_ is {target!r}, which is not a part of vje_ppl; loading it would run its code, so load the "
        f"run with trust_targets=True only if you trust its source."
    )


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _parameters(target: Any) -> set[str]:
    """Return names of the parameters that a callable declares; empty if Python cannot determine them."""
    try:
        return set(inspect.signature(target).parameters)
    except (TypeError, ValueError):
        return set()
