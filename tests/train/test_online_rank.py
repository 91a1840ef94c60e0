"""RankMe and LiDAR in the rows of a run."""

from __future__ import annotations

import csv
from collections.abc import Sequence

import pytest
import torch

from tests.helpers.cases import composed
from tests.helpers.commands import one_sentence
from vje_ppl.data.loaders.digits import digits
from vje_ppl.measures.embedding_rank import rankme
from vje_ppl.settings.build import build_augment, build_method
from vje_ppl.train import online_rank
from vje_ppl.train.online_rank import OnlineRank


def rows(folder) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))


def measured(
    images: int | str = 200, views: int = 3, seed: int = 0, further: Sequence[str] = ()
) -> tuple[dict[str, float], torch.nn.Module]:
    config = composed(f"rank.images={images}", f"rank.views={views}", *further)
    data = digits()
    torch.manual_seed(0)
    augment, module = build_augment(config, 1, 8), build_method(config, 1, 8)
    rank = OnlineRank(data.train, augment, config.rank, seed, torch.device("cpu"))
    return rank.measured(module), module


def test_ranks_are_those_of_the_prepared_images_and_leave_the_module_alone():
    found, module = measured(images=10_000)
    data = digits()
    z = module.eval().embed(build_augment(composed(), 1, 8).evaluation(data.train.images))
    assert found["rankme"] == pytest.approx(rankme(z.detach()), rel=1e-5)
    assert 1 < found["lidar"] <= module.dim


def test_views_depend_on_the_seed_alone():
    first, again, other = measured()[0], measured()[0], measured(seed=1)[0]
    assert first == again
    assert first["lidar"] != other["lidar"]
    assert first["rankme"] == other["rankme"]


@pytest.mark.parametrize("views", [0, 1])
def test_without_two_views_there_is_no_lidar(views):
    assert measured(views=views)[0].keys() == {"rankme"}


@pytest.mark.parametrize(("images", "views", "has"), [(128, 2, True), (127, 2, False), (64, 3, True), (63, 3, False)])
def test_without_two_deviations_per_feature_there_is_no_lidar(images, views, has):
    found, module = measured(images, views)
    assert module.dim == 64
    assert ("lidar" in found) == has


@pytest.mark.parametrize(("dim", "images"), [(64, 1000), (300, 1200)])
def test_images_are_four_per_feature_and_at_least_a_thousand(dim, images, monkeypatch):
    counts = []
    monkeypatch.setattr(online_rank, "lidar", lambda z: counts.append(z.shape) or 1.0)
    measured("auto", further=[f"encoder.dim={dim}"])
    assert counts == [(images, 3, dim)]


def test_rows_with_knn_have_ranks_and_training_is_as_without(train, tmp_path):
    assert train("run.name=with", "knn.every=1").returncode == 0
    assert train("run.name=without", "knn.every=1", "rank.images=0").returncode == 0
    found, other = rows(tmp_path / "runs/with"), rows(tmp_path / "runs/without")
    assert all(1 <= float(row["rankme"]) <= 8 and 1 <= float(row["lidar"]) <= 8 for row in found)
    assert not {"rankme", "lidar"} & set(other[0])
    assert [row["loss"] for row in found] == [row["loss"] for row in other]


def test_a_number_of_images_below_zero_is_refused(train):
    assert "rank.images expects auto or a whole number of at least 0 or null, got -1" in one_sentence(
        train("rank.images=-1")
    )
