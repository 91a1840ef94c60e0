"""Scores of a method that predicts a density without a program."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.helpers.baselines import built
from tests.helpers.cases import composed
from vje_ppl.data.image_set import InMemoryImages
from vje_ppl.features.embedder import Embedder
from vje_ppl.measures.anomaly.program_scores import DensityScores
from vje_ppl.measures.anomaly.scorer import AnomalyScorer
from vje_ppl.measures.anomaly.view_pairs import ScoreOptions
from vje_ppl.settings.build import build

OPTIONS = ScoreOptions(samples=3, pairs=2, batch_size=64)
PAIRS = {
    "clean-clean": [(0, 0)],
    "clean-augmented": [(0, 1), (1, 0), (0, 2), (2, 0)],
    "augmented-augmented": [(1, 2), (2, 1), (3, 4), (4, 3)],
}


class Told:
    """A density whose surprise tells source and target apart."""

    def surprise(self, source, target):
        return source[:, 0] + 10 * target[:, 0]

    def uncertainty(self, z):
        return z[:, 0] ** 2


def test_scores_are_means_over_ordered_pairs_and_over_views():
    z = torch.arange(1.0, 11).reshape(5, 2, 1)  # 5 views of 2 images
    found = {(kind.name, kind.views): (kind, values) for kind, values in DensityScores(Told(), OPTIONS)(z).items()}
    assert len(found) == 5
    for views, pairs in PAIRS.items():
        kind, values = found["surprise", views]
        expected = torch.stack([z[a, :, 0] + 10 * z[b, :, 0] for a, b in pairs]).mean(0)
        torch.testing.assert_close(values, expected.double())
        assert (kind.samples, kind.is_headline, kind.pairs) == (None, False, 1 if views == "clean-clean" else 2)
    for views, rows, augmentations in (("clean", z[:1], 0), ("augmented", z[1:], 4)):
        kind, values = found["uncertainty", views]
        torch.testing.assert_close(values, (rows[..., 0] ** 2).mean(0).double())
        assert kind.augmentations == augmentations


BOTH = {"surprise", "uncertainty"}


@pytest.mark.parametrize(
    ("method", "own"),
    [("vi_simsiam", BOTH), ("lejepa", {"surprise"}), ("visreg", {"surprise"}), ("simsiam", set()), ("byol", set())],
)
def test_a_method_brings_its_density_and_distances_of_z(method, own):
    augment = build(composed("augment=digits").augment, "augment", channels=1, image_size=4)
    module = built(method).eval()
    embedder = Embedder.of(module)
    assert (embedder.density is module) == bool(own)
    assert embedder.feature_names == ("z",)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (70, 1, 4, 4), dtype=torch.uint8, generator=generator)
    training = embedder.features(augment.evaluation(pixels[:20]))
    index, scores = AnomalyScorer(embedder, augment, training, OPTIONS, torch.device("cpu"))(InMemoryImages(pixels))
    assert torch.equal(index, torch.arange(70))
    distances = {"knn_distance", "nearest_cosine", "mahalanobis", "ssd", "csi"}
    assert {score.kind.name for score in scores} == distances | {"complexity"} | own
    assert all(np.isfinite(score.values).all() for score in scores)
    assert {score.kind.features for score in scores if score.kind.name in distances} == {"z"}
