import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from vje_ppl.errors import UserError
from vje_ppl.measures.knn import accuracy, knn_ranks, largest_k


def top(*arguments, **setting):
    """Top-1 and top-5 accuracy."""
    _, ranks = knn_ranks(*arguments, **setting)
    return accuracy(ranks), accuracy(ranks, best=5)


def features(seed, rows, width, classes):
    """Noisy clusters, hard enough that neighbours disagree."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (rows,), generator=generator)
    centres = torch.randn(classes, width, generator=torch.Generator().manual_seed(99))
    return centres[labels] + 1.5 * torch.randn(rows, width, generator=generator), labels


def reference(bank, bank_labels, queries, query_labels, k, temperature, classes):
    """Every similarity at once, in float64, one query after the other."""
    unit = [x.double().flatten(1).numpy() for x in (bank, queries)]
    unit = [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300) for x in unit]
    top1 = top5 = 0
    for row, label in zip(unit[1] @ unit[0].T, query_labels.tolist(), strict=True):
        nearest = sorted(range(len(row)), key=lambda i: (-row[i], i))[:k]
        votes = np.zeros(classes)
        for i in nearest:
            votes[int(bank_labels[i])] += math.exp((row[i] - 1) / temperature)
        ranking = sorted((c for c in range(classes) if votes[c] > 0), key=lambda c: (-votes[c], c))
        top1 += ranking[0] == label
        top5 += label in ranking[:5]
    return top1 / len(query_labels), top5 / len(query_labels)


@pytest.mark.parametrize("temperature", [0.07, 1.0], ids=lambda t: f"T={t}")
@pytest.mark.parametrize("k", [1, 5, 20], ids=lambda k: f"k={k}")
@pytest.mark.parametrize("chunk", [7, 100, 4096], ids=lambda c: f"chunk={c}")
def test_accuracy_equals_brute_force(k, temperature, chunk):
    bank, queries = features(0, 500, 16, 8), features(1, 211, 16, 8)

    result = top(*bank, *queries, k=k, temperature=temperature, num_classes=8, chunk=chunk)

    assert result == reference(*bank, *queries, k, temperature, 8)
    assert 0.2 < result[0] < 0.98, "too easy or too hard to tell a right answer from a wrong one"


@pytest.mark.parametrize("chunk", [50, 4096], ids=lambda c: f"chunk={c}")
def test_ranks_equal_brute_force_query_by_query(chunk):
    bank, queries = features(0, 500, 16, 8), features(1, 211, 16, 8)

    k, ranks = knn_ranks(*bank, *queries, k=3, temperature=0.1, num_classes=8, chunk=chunk)

    assert k == 3
    for one in range(211):
        top1, _ = reference(*bank, queries[0][one : one + 1], queries[1][one : one + 1], 3, 0.1, 8)
        assert (ranks[one] == 0) == bool(top1)
    assert (ranks == -1).any(), "every class is near every query, so that absence is not tried"


def test_accuracy_equals_scikit_learn():
    bank, queries = features(2, 600, 12, 7), features(3, 300, 12, 7)
    peer = KNeighborsClassifier(15, metric="cosine", weights=lambda distance: np.exp(-distance / 0.1))
    peer.fit(bank[0].double().numpy(), bank[1].numpy())

    result = top(*bank, *queries, k=15, temperature=0.1, num_classes=7)

    assert result[0] == peer.score(queries[0].double().numpy(), queries[1].numpy())


def test_the_length_of_a_feature_does_not_matter():
    bank, queries = features(0, 300, 16, 5), features(1, 100, 16, 5)
    scale = torch.logspace(-30, 30, 100)[:, None]

    plain = top(*bank, *queries, k=10, temperature=0.1, num_classes=5)
    scaled = top(*bank, queries[0] * scale, queries[1], k=10, temperature=0.1, num_classes=5)

    assert scaled == plain


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_other_float_types_are_computed_in_float32(dtype):
    (bank, bank_labels), (queries, query_labels) = features(0, 400, 16, 6), features(1, 100, 16, 6)
    bank, queries = bank.to(dtype), queries.to(dtype)

    result = top(bank, bank_labels, queries, query_labels, k=9, temperature=0.1, num_classes=6)

    assert result == reference(bank, bank_labels, queries, query_labels, 9, 0.1, 6)


def test_autocast_does_not_reach_the_similarities():
    # Far from the origin all cosines are near one, where bfloat16 has but three digits
    (bank, bank_labels), (queries, query_labels) = features(0, 400, 16, 6), features(1, 200, 16, 6)
    split = (bank + 30, bank_labels, queries + 30, query_labels)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = top(*split, k=9, temperature=0.01, num_classes=6)

    assert result == top(*split, k=9, temperature=0.01, num_classes=6)


def images(seed, rows):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (rows,), generator=generator)
    pictures = torch.randint(0, 120, (rows, 3, 6, 6), generator=generator, dtype=torch.uint8)
    pictures[:, 0] += (30 * labels[:, None, None]).to(torch.uint8)
    return pictures, labels


def test_bytes_are_images():
    bank, queries = images(0, 300), images(1, 90)

    result = top(*bank, *queries, k=5, temperature=0.1, num_classes=4, chunk=64)

    assert result == reference(*bank, *queries, 5, 0.1, 4)


def test_equal_neighbours_first_in_the_bank_win_whatever_the_chunk():
    # All similarities are exactly 1 or 0: of the ten rows on the query's axis, the first three have class 2.
    bank = torch.eye(2).repeat_interleave(10, 0)
    labels = torch.tensor([2] * 3 + [1] * 7 + [0] * 10)
    queries, wanted = torch.tensor([[2.0, 0.0]]), torch.tensor([2])

    for chunk in range(1, 21):
        result = top(bank, labels, queries, wanted, k=1, temperature=0.1, num_classes=3, chunk=chunk)
        assert result[0] == 1.0, f"chunk {chunk}"


@pytest.mark.parametrize("chunk", [17, 60, 300, 4096], ids=lambda c: f"chunk={c}")
def test_many_ties_are_broken_by_the_order_of_the_bank(chunk):
    # Axes and diagonals of a cube: every similarity is a multiple of 1/2, exact in any precision and order. At this
    # temperature each neighbour has the same weight, so that only which neighbours are chosen matters.
    generator = torch.Generator().manual_seed(5)
    signs = 2.0 * torch.randint(2, (700, 4), generator=generator) - 1
    axes = torch.eye(4)[torch.randint(4, (700,), generator=generator)]
    rows = torch.where(torch.rand(700, 1, generator=generator) < 0.5, signs, axes)
    labels = torch.randint(3, (700,), generator=generator)
    split = (rows[:600], labels[:600], rows[600:], labels[600:])

    result = top(*split, k=25, temperature=1e30, num_classes=3, chunk=chunk)

    assert result == reference(*split, 25, 1e30, 3)


@pytest.mark.parametrize(("label", "top1", "top5"), [(0, 1, 1), (1, 0, 1), (2, 0, 0)], ids=["lower", "higher", "none"])
def test_equal_votes_go_to_the_lower_class_and_none_to_a_class_without(label, top1, top5):
    bank = torch.tensor([[1.0, 0.0]] * 4 + [[0.0, 1.0]] * 4 + [[-1.0, 0.0]] * 4)
    labels = torch.tensor([1, 0] * 4 + [2] * 4)

    result = top(bank, labels, torch.tensor([[3.0, 0.0]]), torch.tensor([label]), k=2, temperature=0.1, num_classes=3)

    assert result == (top1, top5)


def test_rows_of_zeros_are_equally_far_from_all():
    bank = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 0.1], [0.0, -1.0], [-1.0, 0.0], [0.0, 0.0]])
    labels = torch.tensor([0, 1, 1, 0, 0, 1])
    queries = torch.tensor([[0.0, 0.0], [1.0, 0.05]])

    result = top(bank, labels, queries, torch.tensor([0, 1]), k=1, temperature=0.1, num_classes=2)

    assert result[0] == 1.0


def test_a_low_temperature_leaves_the_nearest_to_decide():
    bank, queries = features(0, 400, 16, 6), features(1, 150, 16, 6)

    cold = top(*bank, *queries, k=20, temperature=1e-6, num_classes=6)

    assert cold[0] == top(*bank, *queries, k=1, temperature=0.1, num_classes=6)[0]


def test_classes_missing_on_either_side_do_no_harm():
    bank, (queries, labels) = features(0, 400, 16, 5), features(1, 100, 16, 5)
    kept = labels != 2
    setting = {"k": 7, "temperature": 0.1, "num_classes": 6}

    result = top(*bank, queries[kept], labels[kept], **setting)
    unknown = top(*bank, queries, torch.full_like(labels, 5), **setting)

    assert result == reference(*bank, queries[kept], labels[kept], 7, 0.1, 6)
    assert unknown == (0.0, 0.0)


@pytest.mark.parametrize(
    ("sizes", "k", "used"),
    [((10, 10), 3, 3), ((10, 9), 30, 4), ((100, 1), 30, 1), ((100, 0, 8), 200, 4), ((3,), 7, 1)],
    ids=["enough", "half", "lone-example", "absent-class", "more-than-bank"],
)
def test_largest_k_is_half_the_smallest_class(sizes, k, used):
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    bank = torch.randn(len(labels), 4, generator=torch.Generator().manual_seed(0))

    assert largest_k(labels, k) == used
    assert knn_ranks(bank, labels, bank, labels, k=k, temperature=0.1, num_classes=len(sizes))[0] == used


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "at least 1, got 0"),
        ({"temperature": 0.0}, "above 0, got 0.0"),
        ({"temperature": math.nan}, "above 0, got nan"),
        ({"num_classes": 3}, "from 0 to 2, but the bank has 0 to 3"),
        ({"bank": torch.ones(7, 4)}, "7 rows and 8 labels"),
        ({"queries": torch.ones(2, 5)}, "the bank has 4 and the queries 5"),
        ({"queries": torch.ones(0, 4), "query_labels": torch.zeros(0, dtype=torch.int64)}, "queries, got none"),
        ({"queries": torch.tensor([[1, 2, 3, math.nan]] * 2)}, "finite"),
    ],
    ids=["k", "zero-T", "nan-T", "classes", "labels", "width", "empty", "nan"],
)
def test_what_does_not_fit_is_said(change, message):
    arguments = {
        "bank": torch.ones(8, 4),
        "bank_labels": torch.arange(8) % 4,
        "queries": torch.ones(2, 4),
        "query_labels": torch.tensor([0, 1]),
        "k": 1,
        "temperature": 0.1,
        "num_classes": 4,
    }

    with pytest.raises(UserError, match=message):
        knn_ranks(**{**arguments, **change})
