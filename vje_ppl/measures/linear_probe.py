"""Accuracy of a linear classifier on frozen features: one recipe for every method."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped
from sklearn.metrics import accuracy_score, top_k_accuracy_score
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vje_ppl.data.hold_out import stratified_hold_out
from vje_ppl.errors import UserError
from vje_ppl.parallel.randomness import Stream, keyed_generator

MOMENTUM = 0.9
_CHUNK = 4096  # rows in float64 at a time


@dataclass(frozen=True)
class LinearRecipe:
    """How a probe is trained.

    Attributes:
        learning_rates: the grid, each positive.
        epochs: passes over the training features, at least 1.
        batch_size: rows per step, at least 1.
        hold_out: share of the training features of each class on which the learning rate is chosen, in (0, 1).
        seed: of the order of the rows.
    """

    learning_rates: tuple[float, ...] = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    epochs: int = 100
    batch_size: int = 256
    hold_out: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class LinearResult:
    """Accuracy on the test features, and how the learning rate was chosen.

    Attributes:
        top1: share of test features whose class has the largest logit, in [0, 1].
        top5: share whose class is among the five largest, in [0, 1]; 1 if there are at most five classes.
        learning_rate: the chosen rate.
        hold_out_top1: accuracy on the held-out training features by learning rate; empty if nothing was chosen.
    """

    top1: float
    top5: float
    learning_rate: float
    hold_out_top1: dict[float, float]

    @property
    def at_edge(self) -> bool:
        """Whether the smallest or largest learning rate beats its neighbour, so that the grid may end too early."""
        accuracy, rates = self.hold_out_top1, sorted(self.hold_out_top1)
        if not rates or self.learning_rate not in (rates[0], rates[-1]):
            return False
        neighbour = rates[:2][-1] if self.learning_rate == rates[0] else rates[-2]
        return accuracy[self.learning_rate] > accuracy[neighbour]


def linear_probe(
    train: Shaped[Tensor, "M ..."],
    train_labels: Int64[Tensor, " M"],
    test: Shaped[Tensor, "N ..."],
    test_labels: Int64[Tensor, " N"],
    *,
    num_classes: int,
    recipe: LinearRecipe,
    device: torch.device,
) -> LinearResult:
    """Train softmax regression on frozen features and test it.

    Features are standardized with the mean and standard deviation of the training features, as by a batch
    normalization without scale and shift: then one grid of learning rates fits features of any size. Weights start at
    zero; SGD with momentum 0.9 and no weight decay minimizes the mean cross-entropy, and the learning rate falls to 0
    along half a cosine, without warm-up. All learning rates of the grid train side by side, in the same order of
    batches, on the rest of the training features; the rate with the best top-1 accuracy on the hold-out, the smallest
    among equals, is trained again on all training features. If no class has two features, there is no hold-out, and the
    grid must have a single rate. Test features are used once, at the end.

    Args:
        train: features of the training images, one row each; flattened.
        train_labels: their classes, in [0, num_classes).
        test: features of the test images.
        test_labels: their classes.
        num_classes: number of classes C.
        recipe: the recipe.
        device: where to train; the same device gives the same result.

    Returns:
        Accuracies and the learning rate.

    Raises:
        UserError: if there are several learning rates and no class has two training features.

    Source: the linear evaluation protocol of self-supervised learning, with the batch normalization of He et al.,
    "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, appendix A.2. The grid and the hold-out: ours.
    """
    rows, held_out = (torch.from_numpy(one) for one in stratified_hold_out(train_labels.numpy(), recipe.hold_out))
    train, test = (_near(features, device) for features in (train, test))
    accuracy = {}
    if len(held_out):
        candidates = _fit(train, train_labels, rows, recipe.learning_rates, num_classes, recipe, device)
        chosen_on = _logits(candidates, train, held_out, device)
        labels = train_labels[held_out].numpy()
        accuracy = {
            rate: float(accuracy_score(labels, chosen_on[:, place].argmax(1)))
            for place, rate in enumerate(recipe.learning_rates)
        }
    elif len(recipe.learning_rates) > 1:
        raise UserError(
            "eval=linear selects a rate of linear.lr on held-out labelled training images of each class, but no class "
            f"has two images among these {len(train_labels)}; give a single rate, such as linear.lr=0.1, which needs "
            "no selection."
        )
    best = min(recipe.learning_rates, key=lambda rate: (-accuracy.get(rate, 0.0), rate))
    everything = torch.arange(len(train_labels))
    final = _fit(train, train_labels, everything, (best,), num_classes, recipe, device)
    logits = _logits(final, test, torch.arange(len(test_labels)), device)[:, 0]
    return LinearResult(*_accuracies(logits, test_labels.numpy(), num_classes), best, accuracy)


@dataclass(frozen=True, eq=False)
class _Probes:
    """L linear classifiers on the same standardized features."""

    mean: Float[Tensor, " D"]
    std: Float[Tensor, " D"]
    weights: list[nn.Parameter]  # L of (D, C)
    biases: list[nn.Parameter]  # L of (C,)

    def __call__(self, features: Shaped[Tensor, "N ..."]) -> Float[Tensor, "N L C"]:
        standardized = (features.flatten(1).float() - self.mean) / self.std
        logits = torch.addmm(torch.cat(list(self.biases)), standardized, torch.cat(list(self.weights), dim=1))
        return logits.unflatten(1, (len(self.weights), -1))


def _fit(
    features: Tensor,
    labels: Tensor,
    rows: Tensor,
    rates: Sequence[float],
    num_classes: int,
    recipe: LinearRecipe,
    device: torch.device,
) -> _Probes:
    mean, std = _moments(features, rows, device)
    weights = [nn.Parameter(torch.zeros(len(mean), num_classes, device=device)) for _ in rates]
    biases = [nn.Parameter(torch.zeros(num_classes, device=device)) for _ in rates]
    probes = _Probes(mean, std, weights, biases)
    groups = [{"params": [w, b], "lr": rate} for w, b, rate in zip(weights, biases, rates, strict=True)]
    optimizer = torch.optim.SGD(groups, momentum=MOMENTUM)
    steps = recipe.epochs * math.ceil(len(rows) / recipe.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)))
    labels = labels.to(device)
    for batch in _batches(rows, recipe):
        targets = labels[batch.to(device)].unsqueeze(1).expand(-1, len(rates))
        logits = probes(features[batch.to(features.device)].to(device, non_blocking=True))
        loss = cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum") / len(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return probes


def _batches(rows: Tensor, recipe: LinearRecipe) -> Iterator[Tensor]:
    for epoch in range(recipe.epochs):
        order = keyed_generator(Stream.PROBE_ORDER, recipe.seed, epoch).permutation(len(rows))
        yield from rows[torch.from_numpy(order)].split(recipe.batch_size)


def _moments(features: Tensor, rows: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the mean and standard deviation (1 if it is constant) of each feature. One pass in float64."""
    first = features[:1].flatten(1).double()
    total, squares = torch.zeros_like(first[0]), torch.zeros_like(first[0])
    for chunk in rows.to(features.device).split(_CHUNK):
        shifted = features[chunk].flatten(1).double() - first
        total, squares = total + shifted.sum(0), squares + shifted.square().sum(0)
    mean = total / len(rows)
    variance = squares / len(rows) - mean.square()
    varies = variance > 1e-12 * (first[0] + mean).square()
    std = torch.where(varies, variance, 1.0).sqrt()
    return (first[0] + mean).float().to(device), std.float().to(device)


@torch.no_grad()
def _logits(probes: _Probes, features: Tensor, rows: Tensor, device: torch.device) -> Float[np.ndarray, "N L C"]:
    parts = [probes(features[chunk.to(features.device)].to(device)).cpu() for chunk in rows.split(_CHUNK)]
    return torch.cat(parts).numpy()


def _accuracies(logits: Float[np.ndarray, "N C"], labels: np.ndarray, num_classes: int) -> tuple[float, float]:
    top1 = float(accuracy_score(labels, logits.argmax(1)))
    if num_classes <= 5:
        return top1, 1.0
    return top1, float(top_k_accuracy_score(labels, logits, k=5, labels=np.arange(num_classes)))


def _near(features: Tensor, device: torch.device) -> Tensor:
    """Return the features on the device, if they take no more than half of what is free there; else where they are."""
    if device.type == "cuda" and features.nbytes < torch.cuda.mem_get_info(device)[0] / 2:
        return features.to(device)
    return features
