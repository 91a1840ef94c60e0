"""Every image of a set scored once, whatever the batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyro
import pytest
import torch
from hydra import compose, initialize_config_module

from tests.helpers.cases import built, composed
from vje_ppl.data.image_set import InMemoryImages
from vje_ppl.errors import UserError
from vje_ppl.features.embedder import Embedder
from vje_ppl.measures.anomaly.distances import Distances
from vje_ppl.measures.anomaly.scorer import AnomalyScorer, distance_scores, score_options
from vje_ppl.measures.anomaly.view_pairs import ScoreOptions
from vje_ppl.settings.build import build

CPU = torch.device("cpu")
OPTIONS = ScoreOptions(samples=3, pairs=2, batch_size=64, rank_draws=8, regret_steps=3)
PROGRAM = {"conditional", "conditional/direction", "conditional/radius", "predictive", "joint", "surprise_rank"}
SINGLE = {"kl", "log_precision"}
STATISTICS = {*PROGRAM, *SINGLE, "log_norm", "marginal"} - {"conditional", "predictive", "joint", "surprise_rank"}
TYPICALITY = {"typicality", *(f"typicality/{name}" for name in STATISTICS)}
DISTANCES = {"knn_distance", "nearest_cosine", "mahalanobis", "ssd", "csi"}


@pytest.fixture(scope="module")
def images():
    pixels = torch.randint(0, 256, (150, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return InMemoryImages(pixels)


@pytest.fixture(scope="module")
def augment():
    return build(composed("augment=digits").augment, "augment", channels=1, image_size=4)


@pytest.fixture(scope="module")
def embedder():
    torch.manual_seed(0)
    program = built(dim=3).eval()
    return Embedder(program.guide.embed, 3, program)


def scorer(embedder, augment, options=OPTIONS):
    training = torch.randint(0, 256, (20, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    features = embedder.features(augment.evaluation(training))
    augmented = features["z"].flip(0) + 0.1  # any that differ
    calibration = InMemoryImages(training.roll(7, 0).flip(2).repeat(4, 1, 1, 1))
    return AnomalyScorer(embedder, augment, features, options, CPU, augmented=augmented, calibration=calibration)


def values(scores):
    return {score.kind: score.values for score in scores}


@pytest.fixture(scope="module")
def scored(embedder, augment, images):
    """The number and all scores of each image, for reading."""
    return scorer(embedder, augment)(images)


@pytest.fixture(scope="module")
def every(scored):
    """The values of all scores, by kind."""
    return values(scored[1])


def test_every_image_once_and_every_score_says_how(scored):
    index, scores = scored
    assert torch.equal(index, torch.arange(150))
    assert all(score.values.shape == (150,) for score in scores)
    rows = [score.kind.row for score in scores]
    by_views: dict[str, set] = {}
    for row in rows:
        by_views.setdefault(row["views"], set()).add(row["score"])
    assert by_views == {
        **dict.fromkeys(("clean-clean", "clean-augmented", "augmented-augmented"), PROGRAM),
        "clean": SINGLE | DISTANCES | TYPICALITY | {"aggregate", "complexity", "regret"},
        "augmented": SINGLE | DISTANCES,
        "all": {"evidence"},
    }
    augmentations = {
        "clean": 0,
        "augmented": 4,
        "all": 4,
        "clean-clean": 0,
        "clean-augmented": 2,
        "augmented-augmented": 4,
    }
    assert all(row["augmentations"] == augmentations[row["views"]] for row in rows)
    assert all(row["S"] == 3 and row["pairs"] for row in rows if row["score"] in PROGRAM)
    assert {row["features"] for row in rows if row["score"] in DISTANCES} == {"z", "mu"}
    assert not any(score.kind.is_headline for score in scores)


def test_the_headline_is_what_the_defaults_give(embedder, augment, images):
    defaults = ScoreOptions(batch_size=64)
    _, scores = scorer(embedder, augment, defaults)(images.select(np.arange(8)))
    (headline,) = (score.kind for score in scores if score.kind.is_headline)
    assert (headline.name, headline.views) == ("conditional", "augmented-augmented")
    assert (headline.samples, headline.pairs, headline.augmentations) == (16, 8, 16)
    with initialize_config_module("vje_ppl.configs", version_base="1.3"):
        assert score_options(compose("evaluate")) == replace(defaults, batch_size=256)


@pytest.mark.parametrize("batch_size", [1, 128, 1000])
def test_the_batch_size_changes_nothing(embedder, augment, images, every, batch_size):
    other = values(scorer(embedder, augment, replace(OPTIONS, batch_size=batch_size))(images)[1])
    assert every.keys() == other.keys()
    for kind, expected in every.items():
        # Only the encoder sees other batches: a few units in the last place of float32 sums, and of arc cosines.
        np.testing.assert_allclose(other[kind], expected, rtol=1e-4, atol=1e-5, err_msg=str(kind))


def test_what_comes_after_an_image_changes_nothing(embedder, augment, images, every):
    part = values(scorer(embedder, augment)(images.select(np.arange(100)))[1])
    for kind, expected in every.items():
        np.testing.assert_allclose(part[kind], expected[:100], rtol=1e-4, atol=1e-5, err_msg=str(kind))


def test_the_seed_moves_what_is_random_and_nothing_else(embedder, augment, images, every):
    assert OPTIONS.seed == 0
    one, other = every, values(scorer(embedder, augment, replace(OPTIONS, seed=1))(images)[1])
    for kind in one:
        fixed = kind.views == "clean" and kind.name != "aggregate"
        fixed &= kind.name not in ("typicality", "regret") and not kind.name.startswith("typicality/conditional")
        assert np.array_equal(one[kind], other[kind]) == fixed, kind


def test_neither_images_nor_global_random_numbers_are_touched(embedder, augment, images):
    before, state = images.images.clone(), torch.get_rng_state()
    scorer(embedder, augment)(images)
    assert torch.equal(images.images, before)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("views", ["clean-clean", "clean-augmented", "augmented-augmented"])
def test_some_kinds_of_views_score_as_all_do(embedder, augment, images, every, views):
    some = values(scorer(embedder, augment, replace(OPTIONS, views=(views,)))(images)[1])
    assert {kind.views for kind in some} - {"clean", "augmented", "all"} == {views}
    for kind, found in some.items():
        if kind.views in ("clean", views):
            np.testing.assert_allclose(found, every[kind], rtol=1e-5, atol=1e-6)


def test_a_method_without_a_program_has_distances_of_z_alone(embedder, augment, images, every):
    _, scores = scorer(Embedder(embedder.embed, 3), augment)(images)
    assert {score.kind.name for score in scores} == DISTANCES | {"complexity"}
    assert {score.kind.features for score in scores if score.kind.name in DISTANCES} == {"z"}
    for score in scores:
        np.testing.assert_allclose(score.values, every[score.kind], rtol=1e-5, atol=1e-6)


def test_distance_scores_are_those_of_clean_features(embedder, augment, images, every):
    training = torch.randint(0, 256, (20, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    bank = embedder.features(augment.evaluation(training))["z"]
    z = embedder.features(augment.evaluation(images.images))["z"]
    alone = distance_scores(Distances(bank, 5, CPU), z, "z", "trained")
    for score in alone:
        np.testing.assert_allclose(score.values, every[score.kind], rtol=1e-4, atol=1e-5)


def test_a_score_that_is_not_finite_is_named(augment, images):
    pyro.enable_validation(False)  # as at the command line
    program = built(dim=3).eval()
    embedder = Embedder(program.guide.embed, 3, program)
    broken = scorer(embedder, augment)
    with torch.no_grad():
        for parameter in embedder.program.guide.network.parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(UserError, match="of 150 of 150 images is not finite"):
        broken(images)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"views": ("clean-dirty",)}, "got clean-dirty"),
        ({"views": ()}, "got none"),
        ({"pairs": 0}, "at least 1, got 0"),
    ],
    ids=["unknown-views", "no-views", "no-pairs"],
)
def test_options_are_checked(changes, said):
    with pytest.raises(UserError, match=said):
        replace(OPTIONS, **changes).kinds  # noqa: B018


def test_only_some_scores_are_those_among_all(embedder, augment, images, every):
    for only in (("joint", "mahalanobis"), ("typicality",)):
        some = values(scorer(embedder, augment, replace(OPTIONS, only=only))(images)[1])
        assert {kind.family for kind in some} == {*only, "complexity"}
        for kind, found in some.items():
            np.testing.assert_array_equal(found, every[kind])
