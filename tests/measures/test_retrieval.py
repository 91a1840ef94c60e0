from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from vje_ppl.errors import UserError
from vje_ppl.measures.retrieval import nearest_other, uncertain_retrieval


def test_by_hand():
    angles = torch.tensor([0.0, 5.0, 20.0, 100.0, 104.0, 130.0]).deg2rad()
    features = torch.stack([angles.cos(), angles.sin()], 1) * torch.tensor([[1.0], [9], [2], [3], [1], [5]])
    assert nearest_other(features).tolist() == [1, 0, 1, 4, 3, 4]
    labels = torch.tensor([0, 0, 1, 1, 2, 2])  # errors at 2, 3 and 4
    found = uncertain_retrieval(features, labels, np.array([0.1, 0.3, 0.2, 0.9, 0.8, 0.4]))
    assert found.recall == pytest.approx(0.5)
    # Of nine pairs of an error and a hit, the error is the less certain in 3 + 3 + 1
    assert found.r_auroc == pytest.approx(7 / 9)
    np.testing.assert_allclose(found.curve.risk, [0, 1 / 2, 1 / 3, 1 / 4, 2 / 5, 3 / 6])


def test_neighbours_and_auroc_are_scikit_learns(monkeypatch):
    monkeypatch.setattr("vje_ppl.measures.retrieval._CHUNK", 7)
    features, labels = torch.randn(40, 5), torch.randint(0, 3, (40,))
    peer = NearestNeighbors(n_neighbors=2, metric="cosine", algorithm="brute").fit(features.numpy())
    nearest = peer.kneighbors(features.numpy())[1][:, 1]
    np.testing.assert_array_equal(nearest_other(features), nearest)
    uncertainty = np.random.default_rng(0).standard_normal(40)
    wrong = labels.numpy()[nearest] != labels.numpy()
    found = uncertain_retrieval(features, labels, uncertainty)
    assert found.r_auroc == pytest.approx(roc_auc_score(wrong, uncertainty))
    assert found.recall == pytest.approx(1 - wrong.mean())


@pytest.mark.parametrize(("labels", "recall"), [([0, 0, 0], 1.0), ([0, 1, 2], 0.0)], ids=["no-error", "errors-alone"])
def test_nothing_to_tell_apart_has_no_auroc(labels, recall):
    found = uncertain_retrieval(torch.randn(3, 2), torch.tensor(labels), np.arange(3.0))
    assert found.recall == recall
    assert found.r_auroc is None


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(UserError, match="at least 2 images, got 1"):
        nearest_other(torch.ones(1, 2))
    with pytest.raises(UserError, match="features of 1 of 3 images are not finite"):
        nearest_other(torch.tensor([[1.0, 0.0], [torch.nan, 1.0], [0.0, 1.0]]))
    with pytest.raises(UserError, match="of 1 of 3 images is not finite"):
        uncertain_retrieval(torch.randn(3, 2), torch.zeros(3, dtype=torch.int64), np.array([1.0, np.nan, 2.0]))
