"""Weighted k-nearest-neighbour accuracy of embeddings."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from vje_ppl.errors import UserError

Features = Float[Tensor, "_ _ ..."] | UInt8[Tensor, "_ _ ..."]


def largest_k(labels: Int64[Tensor, " M"], k: int) -> int:
    """Bound k by half the smallest class, so that each class can win a vote among its own; at least 1.

    Args:
        labels: classes of the bank. Classes without an example do not count.
        k: requested number of neighbours, at least 1.

    Returns:
        `k`, or half the size of the smallest class if that is less.

    Raises:
        UserError: if `k` is below 1 or there are no labels.
    """
    if k < 1:
        raise UserError(f"k-NN needs k of at least 1, got {k}.")
    if len(labels) == 0:
        raise UserError("k-NN needs labelled examples to choose neighbours from, got none.")
    smallest = int(labels.unique(return_counts=True)[1].min())
    return min(k, max(1, smallest // 2))


def accuracy(ranks: Int64[Tensor, " N"], best: int = 1) -> float:
    """Return the share of queries whose class is among the `best` with the most votes, in [0, 1].

    Args:
        ranks: from `knn_ranks`.
        best: number of classes that count; 1 is top-1 accuracy.
    """
    return float(((ranks >= 0) & (ranks < best)).double().mean())


@torch.no_grad()
def knn_ranks(
    bank: Features,
    bank_labels: Int64[Tensor, " M"],
    queries: Features,
    query_labels: Int64[Tensor, " N"],
    *,
    k: int,
    temperature: float | int,
    num_classes: int,
    chunk: int = 1024,
    device: torch.device | None = None,
) -> tuple[int, Int64[Tensor, " N"]]:
    """Classify each query by a weighted vote of its k nearest neighbours in the bank, and rank its own class.

    With cosine similarity c_i to neighbour i of class y_i, class y gets Σ_i exp((c_i − 1) / T) [y_i = y] votes.
    Among equal similarities the neighbour that comes first in the bank is nearer, and among equal votes the lower
    class wins. A class that no neighbour has is not among the five best, however few have votes.

    Each row is flattened and scaled to length one, in float32 whatever its type; a row of zeros has similarity 0 to
    all. At no time are more than `chunk` rows of bank and queries held in float32, nor more than chunk² similarities.

    Args:
        bank: features or images of the labelled examples, (M, ...).
        bank_labels: their classes, in [0, num_classes).
        queries: features or images to classify, (N, ...).
        query_labels: their classes; a class that the bank lacks is never found.
        k: neighbours that vote, at least 1; `largest_k` bounds it.
        temperature: T above, positive. The field uses 0.07 to 0.1.
        num_classes: number of classes.
        chunk: rows of bank and queries to compare at once.
        device: where to compute; by default, where each chunk of queries lies.

    Returns:
        The k that was used and, on the CPU, the number of classes that come before the query's own: 0 if it is
        classified correctly; −1 if no neighbour has its class.

    Raises:
        UserError: if sizes, classes, k or T do not fit together, or a feature is not finite.

    Source:
        Wu, Xiong, Yu and Lin, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", CVPR 2018,
        section 3.4; the bound on k and the handling of ties are ours.
    """
    _check(bank, bank_labels, "bank", num_classes)
    _check(queries, query_labels, "queries", num_classes)
    if not temperature > 0:
        raise UserError(f"k-NN needs a temperature above 0, got {temperature}.")
    k = largest_k(bank_labels, k)
    ranks = []
    for start, query in _unit_rows(queries, chunk, device):
        labels = query_labels[start : start + chunk].to(query.device)
        similarity, index = _nearest(bank, query, k, chunk)
        # Relative to the nearest neighbour, which changes no order and leaves a vote to count at any temperature
        weights = ((similarity - similarity[:, :1]) / temperature).exp()
        votes = weights.new_zeros(len(query), num_classes)
        votes.scatter_add_(1, bank_labels.to(query.device)[index], weights)
        own = votes.gather(1, labels[:, None])
        first = torch.arange(num_classes, device=query.device) < labels[:, None]
        rank = ((votes > own) | ((votes == own) & first)).sum(1)
        ranks.append(torch.where(own[:, 0] > 0, rank, -1).cpu())
    return k, torch.cat(ranks)


def _nearest(
    bank: Features, query: Float[Tensor, "N D"], k: int, chunk: int
) -> tuple[Float[Tensor, "N k"], Int64[Tensor, "N k"]]:
    """Return similarity and index of the k nearest rows of the bank, nearest first; of equals, the earlier first."""
    best = query.new_full((len(query), k), -torch.inf)
    index = torch.zeros(len(query), k, dtype=torch.int64, device=query.device)
    for start, rows in _unit_rows(bank, chunk, query.device):
        if rows.shape[1] != query.shape[1]:
            raise UserError(
                f"k-NN needs features of one width, but the bank has {rows.shape[1]} and the queries {query.shape[1]}."
            )
        with torch.autocast(query.device.type, enabled=False):
            similarity = query @ rows.T
        value, position = _top(similarity, min(k, len(rows)))
        value, index_there = torch.cat([best, value], 1), torch.cat([index, position + start], 1)
        best, order = value.sort(dim=1, descending=True, stable=True)
        best, index = best[:, :k], index_there.gather(1, order[:, :k])
    return best, index


def _top(similarity: Float[Tensor, "N M"], k: int) -> tuple[Float[Tensor, "N k"], Int64[Tensor, "N k"]]:
    """Return the k largest of each row, in order of position; of equal values, the earlier positions."""
    value, position = similarity.topk(min(k + 1, similarity.shape[1]), dim=1)
    if value.shape[1] > k:
        # `topk` takes any of equals. Rows where the next value equals the last one taken are rare: sort those.
        tied = (value[:, k - 1] == value[:, k]).nonzero()[:, 0]
        value, position = value[:, :k], position[:, :k].contiguous()
        if len(tied):
            position[tied] = similarity[tied].sort(dim=1, descending=True, stable=True)[1][:, :k]
    position = position.sort(dim=1)[0]
    return similarity.gather(1, position), position


def _unit_rows(
    features: Features, chunk: int, device: torch.device | None
) -> Iterator[tuple[int, Float[Tensor, "rows D"]]]:
    for start in range(0, len(features), chunk):
        stop = min(start + chunk, len(features))
        rows = features[start:stop].to(device).flatten(1).float()
        if not torch.isfinite(rows).all():
            raise UserError(f"k-NN needs finite features, but some of rows {start} to {stop} are not.")
        # By the largest entry first: squares of float32 overflow beyond 1e19 and vanish below 1e-23
        tiny = torch.finfo(torch.float32).tiny
        rows = rows / torch.linalg.vector_norm(rows, torch.inf, dim=1, keepdim=True).clamp(min=tiny)
        yield start, rows.div_(torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp(min=tiny))


def _check(features: Features, labels: Int64[Tensor, " rows"], name: str, num_classes: int) -> None:
    if len(features) != len(labels):
        raise UserError(
            f"k-NN needs one label per row, but the {name} has {len(features)} rows and {len(labels)} labels."
        )
    if len(labels) == 0:
        raise UserError(f"k-NN needs at least one example in the {name}, got none.")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise UserError(f"k-NN needs classes from 0 to {num_classes - 1}, but the {name} has {low} to {high}.")
