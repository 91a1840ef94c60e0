"""What one training step takes: operations, memory and traffic, counted on tensors that have shapes and no values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pyro
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from vje_ppl.build import build, build_joint_embedding
from vje_ppl.data.augment import ViewKey

CHANNELS, SIDE = 3, 224
FLOAT32, BF16 = 4, 2

#: Sizes of the two batches whose difference is what an image takes; whatever does not depend on the batch cancels.
SMALL, LARGE = 2, 4


@dataclass(frozen=True)
class Counts:
    """What a run takes, whatever device it is on. Bytes are bytes, and an image means all of its views.

    Attributes:
        encoder: its trainable numbers.
        inference: those of the inference network.
        others: those of prior, likelihood and model.
        buffers: bytes of batch statistics and the like.
        operations: floating point operations of an image, forward and backward; a multiply-add is two.
        operations_of_inference: the inference network's share of them.
        activations: bytes that an image keeps for the backward pass.
        views: bytes of an image's augmented views, in float32.
        traffic: bytes that the operations on an image read and write, if each takes them from memory and puts them
            there.
        traffic_of_step: the same whatever the number of images, as the parameters are read, cast and given gradients.
        traffic_of_augmentation: the same of making its views from what the workers cut.
        norms: layers whose batch statistics devices exchange.
    """

    encoder: int
    inference: int
    others: int
    buffers: int
    operations: float
    operations_of_inference: float
    activations: float
    views: int
    traffic: float
    traffic_of_step: float
    traffic_of_augmentation: float
    norms: int

    @property
    def parameters(self) -> int:
        """All trainable numbers."""
        return self.encoder + self.inference + self.others


class _Traffic(TorchDispatchMode):
    """Adds up the bytes that operations read and write; one that only looks at a tensor in another way moves none."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function.namespace == "aten" and not function.is_view:
            self.bytes += sum(_size(leaf) for leaf in (*tree_leaves((args, kwargs)), *tree_leaves(result)))
        return result


def _size(leaf: Any) -> int:
    return leaf.numel() * leaf.element_size() if isinstance(leaf, Tensor) else 0


def composed(overrides: Sequence[str]) -> DictConfig:
    """The configuration of `python -m vje_ppl.train` with these overrides."""
    with initialize_config_module("vje_ppl.configs", version_base="1.3"):
        return compose("train", overrides=list(overrides))


@cache
def count(overrides: tuple[str, ...], side: int = SIDE) -> Counts:
    """Count a training step of a configuration on images of `side` pixels, with bf16 autocast as on a GPU.

    Nothing is computed: the tensors are torch's fake ones, so that a model of any size is counted in seconds.
    """
    config = composed(overrides)
    views = config.trainer.views
    with pyro.validation_enabled(False), FakeTensorMode(allow_non_fake_inputs=True):
        module = build_joint_embedding(config, CHANNELS, side).train()
        small, large = (_step(module, images, views, side) for images in (SMALL, LARGE))
        share = _inference(module, LARGE, views)
    step = {name: (large[name] - small[name]) / (LARGE - SMALL) for name in small}
    encoder, inference = (_trainable(part) for part in (module.guide.encoder, module.guide.network))
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    return Counts(
        encoder=encoder,
        inference=inference,
        others=_trainable(module) - encoder - inference,
        buffers=sum(_size(buffer) for buffer in module.buffers()),
        operations=step["operations"],
        operations_of_inference=share / LARGE,
        activations=step["activations"],
        views=views * CHANNELS * side**2 * FLOAT32,
        traffic=step["traffic"],
        traffic_of_step=small["traffic"] - SMALL * step["traffic"],
        traffic_of_augmentation=views * _augmentation(config, side),
        norms=len(norms),
    )


def _step(module: Any, images: int, views: int, side: int) -> dict[str, float]:
    """Forward and backward on so many images: totals, the parameters' own traffic and copies among them."""
    batch = [torch.empty(images, CHANNELS, side, side) for _ in range(views)]
    parameters = {parameter.untyped_storage()._cdata for parameter in module.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}  # holding the storage keeps its address from being used again

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in parameters:
            kept[storage._cdata] = storage
        return tensor

    module.zero_grad(set_to_none=True)
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with FlopCounterMode(display=False) as operations, _Traffic() as traffic, hooks:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = module(*batch).loss
        loss.backward()
    activations = sum(storage.nbytes() for storage in kept.values())
    return {"operations": operations.get_total_flops(), "activations": activations, "traffic": traffic.bytes}


def _inference(module: Any, images: int, views: int) -> float:
    """Operations of the inference network alone, on the embeddings of all views."""
    embeddings = torch.empty(images, module.dim, requires_grad=True)
    with FlopCounterMode(display=False) as operations:
        module.guide.network(embeddings).sum().backward()
    return views * operations.get_total_flops()


def _augmentation(config: DictConfig, side: int) -> float:
    """Bytes moved per view, as a GPU takes it; torch's device without values follows random draws made in NumPy."""
    augment = build(config.augment, "augment", channels=CHANNELS, image_size=side)

    def moved(images: int) -> int:
        pixels = torch.zeros(images, CHANNELS, side, side, device="meta")
        with _Traffic() as traffic:
            augment.finish(pixels, ViewKey(0, 0, 0, slice(0, images), images))
        return traffic.bytes

    return (moved(LARGE) - moved(SMALL)) / (LARGE - SMALL)


def _trainable(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
