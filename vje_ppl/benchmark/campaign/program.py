"""The cost of the probabilistic program: beside a hand-fused loss, in a training step, and in operations."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from hydra import compose

from vje_ppl.benchmark.campaign.launches import kernels, launches
from vje_ppl.benchmark.campaign.limits import Sizes
from vje_ppl.benchmark.campaign.notebook import Notebook
from vje_ppl.benchmark.step import CHANNELS, SIDE, objective_pieces, training_pieces
from vje_ppl.benchmark.timing import alternate
from vje_ppl.data.augment import ViewKey
from vje_ppl.parallel.devices import launch
from vje_ppl.settings.build import build_augment, build_joint_embedding

#: Encoders by their number of features, for the share of a step; the program has the same number.
ENCODERS = {512: "resnet18", 2048: "resnet50"}


def measure(notebook: Notebook, sizes: Sizes, options: dict[str, Any]) -> None:
    """Measure each of `sizes.shapes`, and count operations at the first."""
    device = torch.device(options["device"])
    config = compose("train", ["encoder=small_resnet", "augment=cifar"])
    for images, dim in sizes.shapes:
        shape, pieces = f"{images}x{dim}", objective_pieces(config, images, dim, device)
        if (images, dim) == sizes.shapes[0]:
            notebook.write(
                operations_forward_and_backward=launches(pieces["pyro"]),
                operations_of_fused=launches(pieces["fused"]),
                operations_of_augmentation=launches(partial(_views, images, device)),
            )
            if device.type == "cuda":
                notebook.write(kernels_forward_and_backward=kernels(pieces["pyro"]))
        times = alternate(pieces, sizes.seconds, device)
        notebook.write(
            **{
                f"objective_over_fused_{shape}": times["pyro"] / times["fused"],
                f"objective_{shape}_ms": 1e3 * times["pyro"],
                f"fused_{shape}_ms": 1e3 * times["fused"],
            }
        )
        step = _step_seconds(images, dim, sizes, options["device"])
        notebook.write(**{f"step_{shape}_ms": 1e3 * step, f"objective_of_step_{shape}": times["pyro"] / step})


def _step_seconds(images: int, dim: int, sizes: Sizes, device: str) -> float:
    """Return seconds of a training step at 32×32 pixels, of an encoder with as many features."""
    encoder = [f"encoder={ENCODERS[dim]}"] if dim in ENCODERS else ["encoder=small_resnet", f"encoder.width={dim // 8}"]
    overrides = [*encoder, "augment=cifar", f"batch_size={images}", "guide.network.width=2"]
    config = compose("train", [*overrides, f"trainer.device={device}"])
    fabric = launch(config.trainer, build_joint_embedding(config, CHANNELS, SIDE))
    step = training_pieces(config, fabric)["step"]
    return alternate({"step": step}, sizes.seconds, fabric.device)["step"]


def _views(images: int, device: torch.device) -> None:
    """Make one view of each image, as augment=cifar does."""
    augment = build_augment(compose("train", ["encoder=small_resnet", "augment=cifar"]), CHANNELS, SIDE)
    pixels = torch.zeros(images, CHANNELS, SIDE, SIDE, dtype=torch.uint8, device=device)
    augment.view(pixels, ViewKey(0, 0, 0, slice(0, images), images))
