"""One optimization step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, distributed, nn
from torch.optim import Optimizer

from vje_ppl.errors import UserError
from vje_ppl.methods.method import Method, Terms
from vje_ppl.networks.timm_encoder import synchronized
from vje_ppl.parallel.fabric import Fabric
from vje_ppl.program.noise import KeyedNoise
from vje_ppl.settings.build import build, starting_options
from vje_ppl.train.accumulation import AccumulatedTerms, parts_of
from vje_ppl.train.freezing import freeze
from vje_ppl.train.monitor import Finiteness, gradient_norm


class TrainingStep:
    """Forward, backward and update on one batch of views, with the learning rate and the noise of its step.

    With `trainer.accumulate` above 1, the batch goes through the network in that many parts, whose gradients add up to
    the gradient of the batch's mean. Only the activations of a single part are in memory, processes exchange gradients
    once per step, and batch statistics are per part.

    Args:
        fabric: a launched Fabric; module and optimizer are moved to its device here.
        module: the encoder and everything trained with it.
        config: the whole configuration.
        steps_per_epoch: optimization steps in an epoch.

    Attributes:
        finiteness: whether loss and gradient of the last step were finite. If they were not in some process, and
            `trainer.on_nonfinite` is `skip`, all processes skipped the step.
    """

    finiteness: Finiteness

    def __init__(self, fabric: Fabric, module: Method, config: DictConfig, steps_per_epoch: int) -> None:
        self._fabric, self._config = fabric, config
        self._steps = config.trainer.epochs * steps_per_epoch
        self._warmup = round(config.trainer.warmup * self._steps)
        self._frozen = freeze(module.encoders, starting_options(config).get("freeze", False))
        optimizer = build_optimizer(config.optimizer, module)
        self._base_lrs = [group["lr"] for group in optimizer.param_groups]
        self._after_step = module.after_step
        self._parts = config.trainer.get("accumulate", 1)  # missing in runs of earlier versions
        self._module, self.optimizer = fabric.setup(module, optimizer)
        self._parameters = list(module.parameters())
        self._skips = config.trainer.on_nonfinite == "skip"

    def __call__(self, step: int, views: Iterable[Tensor]) -> Terms:
        """Take step number `step`, from 0, on this process's share of the views, V times (n, C, H, W)."""
        views = tuple(views)
        factor = learning_rate_factor(step, self._steps, self._warmup)
        for group, lr in zip(self.optimizer.param_groups, self._base_lrs, strict=True):
            group["lr"] = lr * factor
        first = self._fabric.global_rank * len(views[0])
        self._module.train()
        for part in self._frozen:
            part.eval()
        before = {name: buffer.clone() for name, buffer in self._module.named_buffers()} if self._skips else {}
        terms = self._gradient(step, first, views)
        self.finiteness = self._check(terms, self._clip())
        if self._skips and self.finiteness.any_bad.item():  # waits for the device
            for name, buffer in self._module.named_buffers():
                if name in before:
                    buffer.copy_(before[name])
        else:
            self.optimizer.step()
            self._after_step(step, self._steps)
        self.optimizer.zero_grad(set_to_none=True)
        return terms

    def _gradient(self, step: int, first: int, views: tuple[Tensor, ...]) -> Terms:
        """Add the gradient of the mean loss of these views, whose rows in the global batch begin at `first`."""
        if self._parts == 1:
            terms = self._forward(step, first, views)
            self._fabric.backward(terms.loss)
            return terms
        whole: AccumulatedTerms | None = None
        for number, (row, part) in enumerate(parts_of(views, self._parts)):
            with self._fabric.no_backward_sync(self._module, enabled=number < self._parts - 1):
                terms = self._forward(step, first + row, part)
                self._fabric.backward(terms.loss / self._parts)
            if whole is None:
                whole = AccumulatedTerms(terms)
            else:
                whole.add(terms)
            del terms  # and with it the graph, before the next part builds another
        assert whole is not None
        return whole

    def _forward(self, step: int, first: int, views: tuple[Tensor, ...]) -> Terms:
        rows = (first, first + len(views[0]))
        with KeyedNoise(self._config.seed, step, rows, self._config.batch_size):
            return self._module(*views)

    def load_optimizer(self, state: dict[str, Any]) -> None:
        """Load an optimizer's state."""
        self.optimizer.load_state_dict(state)

    def _clip(self) -> Tensor:
        """Clip the gradient, if configured, and return its norm before clipping."""
        clip = self._config.trainer.clip
        if not clip:
            return gradient_norm(self._parameters)
        norm = self._fabric.clip_gradients(self._module, self.optimizer, max_norm=clip, error_if_nonfinite=False)
        assert norm is not None
        return norm

    def _check(self, terms: Terms, norm: Tensor) -> Finiteness:
        finiteness = Finiteness.of({**terms.checked(), "the loss": terms.loss, "the gradient": norm})
        if self._skips and self._fabric.world_size > 1:  # otherwise the monitor checks now and then
            return finiteness.over_processes()
        return finiteness

    @property
    def learning_rate(self) -> float:
        """The learning rate of the last step."""
        return self.optimizer.param_groups[0]["lr"]


def build_optimizer(config: DictConfig, module: Method) -> Optimizer:
    """Build the optimizer of a module's parameters from the `optimizer` group.

    Raises:
        UserError: if it refuses its options.
    """
    node: Any = OmegaConf.to_container(config, resolve=True)
    encoder_lr = node.pop("encoder_lr", None)  # missing in runs of earlier versions
    try:
        return build(node, "optimizer")(parameter_groups(module, encoder_lr))
    except (TypeError, ValueError) as error:
        raise UserError(f"optimizer could not be built from {config._target_}: {error}") from error


def parameter_groups(module: Method, encoder_lr: float | None = None) -> list[dict[str, Any]]:
    """Group matrices and kernels with weight decay, vectors (normalization, biases, scales) without.

    Args:
        module: the trained module; parameters that need no gradient are left out.
        encoder_lr: learning rate of the encoder's parameters, which then have groups of their own; None: as the rest.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if encoder_lr is None:
        return _by_decay(parameters)
    of_encoder = {id(parameter) for one in module.encoders for parameter in one.parameters()}
    rest = _by_decay([parameter for parameter in parameters if id(parameter) not in of_encoder])
    own = _by_decay([parameter for parameter in parameters if id(parameter) in of_encoder])
    return [*rest, *({**group, "lr": encoder_lr} for group in own)]


def _by_decay(parameters: Sequence[nn.Parameter]) -> list[dict[str, Any]]:
    matrices = [parameter for parameter in parameters if parameter.dim() > 1]
    vectors = [parameter for parameter in parameters if parameter.dim() <= 1]
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def prepare[M: Method](fabric: Fabric, module: M, trainer: DictConfig, channels_last: bool) -> M:
    """Make a module ready for the device it will train on: synchronized statistics, memory format, compilation."""
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        module = synchronized(module)
    if channels_last:
        module = module.to(memory_format=torch.channels_last)
    if trainer.compile:
        cast(nn.Module, module.encoder).compile()
    return module


def share_buffers(module: nn.Module) -> None:
    """Give the first process's buffers, such as running statistics, to all of them, as each training step does."""
    if distributed.is_available() and distributed.is_initialized():
        for buffer in module.buffers():
            distributed.broadcast(buffer, src=0)


def learning_rate_factor(step: int, steps: int, warmup: int) -> float:
    """Return the factor of the learning rate: linear warm-up from 1/warmup to 1, then half a cosine to 0; stateless.

    Args:
        step: the step about to be taken, from 0.
        steps: total steps of the run.
        warmup: steps of the warm-up.

    Returns:
        The factor of the base learning rate, in [0, 1].

    Source: Loshchilov and Hutter (2017), with the warm-up of Goyal et al. (2017).

    Example:
        >>> [round(learning_rate_factor(step, steps=10, warmup=2), 2) for step in (0, 1, 2, 6, 10)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
