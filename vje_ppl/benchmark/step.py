"""The cost of the probabilistic program in a training step, and of a training step beyond its encoder."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from omegaconf import DictConfig
from torch import Tensor, nn

from vje_ppl.benchmark.timing import alternate
from vje_ppl.data.batches import TrainingBatches
from vje_ppl.data.image_set import InMemoryImages
from vje_ppl.parallel.devices import uses_channels_last
from vje_ppl.parallel.fabric import Fabric
from vje_ppl.settings.build import build_augment, build_joint_embedding
from vje_ppl.train.monitor import Monitor
from vje_ppl.train.step import TrainingStep, prepare

SIDE, CHANNELS = 32, 3


class GivenPosteriors(nn.Module):
    """A guide whose posteriors are given, so that only the probabilistic program is timed."""

    def __init__(self, guide: nn.Module, posteriors: list[Any]) -> None:
        super().__init__()
        self._guide, self._posteriors = guide, posteriors

    def embed(self, view: Tensor) -> Tensor:
        """Return the view, which is an embedding already."""
        return view

    def infer(self, embedding: Tensor) -> Any:
        """Return the next of the given posteriors."""
        self._posteriors.append(self._posteriors.pop(0))
        return self._posteriors[-1]

    def forward(self, posterior: Any, target: Tensor) -> Tensor:
        """Return the guide's own program."""
        return self._guide(posterior, target)


def objective_pieces(config: DictConfig, images: int, dim: int, device: torch.device) -> dict[str, Callable[[], Any]]:
    """Forward and backward of the Pyro objective and of the hand-fused loss, from the same leaves.

    The leaves are the posterior's mean and log-variance of two views, and the targets; gradients are freed each time.
    """
    with_dim = config.copy()
    with_dim.encoder.width = dim // 8
    module = build_joint_embedding(with_dim, CHANNELS, SIDE).to(device)
    leaves = [torch.randn(images, dim, device=device, requires_grad=True) for _ in range(4)]
    targets = [torch.randn(images, dim, device=device) for _ in range(2)]
    template = module.guide.eval().infer(targets[0])
    beta, df = config.objective.beta, config.likelihood.df

    def parameters() -> tuple[list[Tensor], list[Tensor]]:
        for leaf in leaves:
            leaf.grad = None
        return leaves[:2], [torch.exp(0.5 * leaf) for leaf in leaves[2:]]

    def pyro_objective() -> Tensor:
        posteriors = [replace(template, mean=mean, scale=scale) for mean, scale in zip(*parameters(), strict=True)]
        loss = module.elbo.terms(module.model, GivenPosteriors(module.guide, posteriors), *targets).loss
        loss.backward()
        return loss

    def hand_fused() -> Tensor:
        means, scales = parameters()
        loss = fused_loss(torch.stack(means), torch.stack(scales), torch.stack(targets[::-1]), beta, df)
        loss.backward()
        return loss

    return {"pyro": pyro_objective, "fused": hand_fused}


def training_pieces(config: DictConfig, fabric: Fabric) -> dict[str, Callable[[], Any]]:
    """Time a whole training step on in-memory images, and the encoder's forward and backward alone."""
    module = build_joint_embedding(config, CHANNELS, SIDE)
    module = prepare(fabric, module, config.trainer, uses_channels_last(config.trainer, module))
    batches = random_batches(config, fabric.device)
    take_step = TrainingStep(fabric, module, config, batches.steps_per_epoch)
    monitor = Monitor(module)
    stream = endless(batches)

    def whole_step() -> None:
        batch = next(stream)
        monitor.update(batch.step, take_step(batch.step, batch.views), take_step.finiteness)

    views = next(endless(batches)).views

    def encoder_alone() -> None:
        with fabric.autocast():
            embeddings = [module.guide.encoder(view) for view in views]
        torch.autograd.backward([embedding.sum() for embedding in embeddings])
        module.zero_grad(set_to_none=True)

    return {"step": whole_step, "encoder": encoder_alone}


def random_batches(config: DictConfig, device: torch.device, images: int = 10_000, side: int = SIDE) -> TrainingBatches:
    """Return augmented batches of random images, by default of CIFAR's size; the pixels do not affect the cost."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, CHANNELS, side, side), dtype=torch.uint8, generator=generator)
    augment = build_augment(config, CHANNELS, side)
    return TrainingBatches(
        InMemoryImages(pixels), augment, batch_size=config.batch_size, seed=config.seed, device=device
    )


def endless(batches: TrainingBatches) -> Any:
    """Yield batches of one epoch after another."""
    epoch = 0
    while True:
        yield from batches.epoch(epoch)
        epoch += 1


def measure(config: DictConfig, fabric: Fabric, seconds: float) -> dict[str, float]:
    """Return ratios of medians, and those medians in milliseconds."""
    large = alternate(objective_pieces(config, 512, 512, fabric.device), seconds, fabric.device)
    small = alternate(objective_pieces(config, config.batch_size, 128, fabric.device), seconds, fabric.device)
    step = alternate(training_pieces(config, fabric), 3 * seconds, fabric.device)
    return {
        "objective_over_fused": large["pyro"] / large["fused"],
        "objective_overhead_of_step": (small["pyro"] - small["fused"]) / step["step"],
        "step_over_encoder": step["step"] / step["encoder"],
        "objective_512x512_ms": 1e3 * large["pyro"],
        "fused_512x512_ms": 1e3 * large["fused"],
        "step_ms": 1e3 * step["step"],
        "encoder_ms": 1e3 * step["encoder"],
    }


def fused_loss(
    mean: Float[Tensor, "2 N D"], scale: Float[Tensor, "2 N D"], target: Float[Tensor, "2 N D"], beta: float, df: float
) -> Float[Tensor, ""]:
    """Build the standard normal prior and the polar tangent Student-t likelihood; one particle, two views.

    Both directions go through in one batch; the sum of log-scales is shared by likelihood and KL; each square is a dot
    product.

    Args:
        mean: posterior means of both views, shape (2, N, D).
        scale: posterior standard deviations.
        target: the other view's embeddings, detached.
        beta: weight of the KL.
        df: degrees of freedom of both sites.

    Returns:
        Minus the objective in nats per dimension.
    """
    dim = mean.shape[-1]
    latent = mean + scale * torch.randn_like(mean)
    radius = torch.linalg.vector_norm(latent, dim=-1)
    target_radius = torch.linalg.vector_norm(target, dim=-1)
    source = latent / radius.unsqueeze(-1)
    chord = target / target_radius.unsqueeze(-1) - source
    squared_chord = torch.linalg.vecdot(chord, chord)
    standardized = torch.addcmul(chord, 0.5 * squared_chord.unsqueeze(-1), source) / scale
    share = (squared_chord / 4).clamp(1e-6, 1 - 1e-6)  # sin²(θ/2)
    angle_over_sine = share.sqrt().asin() / (share * (1 - share)).sqrt()
    distance = angle_over_sine.square() * torch.linalg.vecdot(standardized, standardized)
    log_scale = scale.log().sum(-1)
    direction = (
        _log_normalizer(df, dim - 1)
        - log_scale
        + 0.5 * torch.linalg.vecdot(source.square(), scale.square()).log()
        - 0.5 * (df + dim - 1) * torch.log1p(distance / df)
    )
    on_radius = _log_normalizer(df, 1) - 0.5 * (df + 1) * torch.log1p((target_radius - radius).square() / df)
    kl = 0.5 * (torch.linalg.vecdot(scale, scale) + torch.linalg.vecdot(mean, mean) - dim) - log_scale
    return -(direction + on_radius - beta * kl).mean() / dim


def _log_normalizer(df: float, dim: int) -> float:
    return math.lgamma((df + dim) / 2) - math.lgamma(df / 2) - 0.5 * dim * math.log(math.pi * df)
