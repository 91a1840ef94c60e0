"""Two processes get, together, what one gets alone: every image once, in order, to the last bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers import baselines
from tests.helpers.cases import built, composed
from tests.helpers.together import together
from vje_ppl.data.batches import BLOCK, Share, evaluation_batches
from vje_ppl.data.image_set import ImageData, InMemoryImages, StreamedImages
from vje_ppl.features.embedder import Embedder
from vje_ppl.features.extract import extract, raw_pixels
from vje_ppl.features.shards import Shards
from vje_ppl.measures.anomaly.scorer import AnomalyScorer
from vje_ppl.measures.anomaly.view_pairs import ScoreOptions
from vje_ppl.settings.build import build
from vje_ppl.train.online_knn import OnlineKNN

CPU = torch.device("cpu")
SIZE = 4

#: Of 23 images in batches of 4 the sixth is short; some are missing, as where files are skipped.
COUNT, BATCH = 23, 4


@pytest.mark.parametrize("together_", [1, 2, 5])
@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_shares_are_a_partition(processes, together_):
    shares = [Share(rank, processes, together_).of(11) for rank in range(processes)]
    assert sorted(number for share in shares for number in share) == list(range(11))
    assert all(share == sorted(share) for share in shares)
    for start in range(0, 11, together_):  # what stays together is in one share
        assert sum(start in share for share in shares) == 1
        (share,) = (share for share in shares if start in share)
        assert set(range(start, min(start + together_, 11))) <= set(share)


def numbers(shards: Shards, missing: set[int]) -> list[tuple[list[int], list[float]]]:
    parts = (
        (torch.arange(BATCH * number, min(BATCH * (number + 1), COUNT)), number)
        for number in shards.share().of(math.ceil(COUNT / BATCH))
        if number not in missing
    )
    gathered = shards.gathered((index, {"root": index.double().sqrt()}) for index, _ in parts)
    return [(index.tolist(), values["root"].tolist()) for index, values in gathered]


def both_ways(rank: int, missing: set[int]) -> tuple[list, dict]:
    shards = Shards(rank, 2)
    everywhere = shards.everywhere({"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([7])} if rank == 0 else None)
    return numbers(shards, missing), {name: one.tolist() for name, one in everywhere.items()}


@pytest.mark.parametrize(
    "missing",
    [set(), {0}, {5}, {1, 3, 5}, {0, 2, 3}, {0, 1, 2, 3, 4, 5}],
    ids=["none", "first", "last", "all of the second process", "most of the first", "all"],
)
def test_parts_come_in_order_and_once(missing):
    (first, everywhere), (second, there) = together(both_ways, missing)
    assert first == numbers(Shards(), missing)
    assert [image for index, _ in first for image in index] == [
        image for image in range(COUNT) if image // BATCH not in missing
    ]
    assert second == []
    assert everywhere == there == {"a": [[0, 1, 2], [3, 4, 5]], "b": [7]}


def in_memory(count: int, seed: int) -> InMemoryImages:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 1, SIZE, SIZE), dtype=torch.uint8, generator=generator)
    return InMemoryImages(pixels, torch.arange(count) % 3, ("a", "b", "c"))


def results(rank: int, processes: int, paths: list) -> dict:
    """Everything that is computed of images, by one or by several processes."""
    shards = Shards(rank, processes)
    augment = build(composed("augment=digits").augment, "augment", channels=1, image_size=SIZE)
    bank, test = in_memory(90, 0), in_memory(2 * BLOCK + 22, 1)
    torch.manual_seed(0)
    program = built(dim=3)
    data = ImageData("mine", bank, bank, test, 1, SIZE, 3)

    def batches(images, share):
        return evaluation_batches(images, augment.evaluation, batch_size=32, device=CPU, share=share)

    knn = OnlineKNN(data, composed("knn.k=5", "knn.bank=80").knn, batches, shards)
    found = {"knn": knn.embeddings(program), "pixels": knn.pixels()}
    streamed = StreamedImages(paths, workers=0, channels=1, skip_unreadable=True)
    found["files"] = raw_pixels(streamed, SIZE, shards)
    embedder = Embedder.of(program.eval())
    for name, memory_mb in {"features": math.inf, "stored": 0.0}.items():
        features = extract(embedder, batches(test, shards.share()), len(test), memory_mb, paths[0].parent, shards)
        found[name] = (features.images, features.by_name)
    options = ScoreOptions(samples=3, pairs=2, batch_size=BLOCK, rank_draws=8, regret_steps=3)
    for name, one in {"vje": embedder, "vi_simsiam": Embedder.of(baselines.built("vi_simsiam").eval())}.items():
        training = one.features(augment.evaluation(bank.images))
        more = {"augmented": training["z"] + 0.1, "calibration": in_memory(BLOCK + 9, 2)}
        scorer = AnomalyScorer(one, augment, training, options, CPU, shards, **more)
        for source, images in {"memory": test, "files": streamed}.items():
            index, scores = scorer(images)
            found[f"{name} {source}"] = index, {score.kind: score.values for score in scores}
    return found


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """By one process, and by the two of two."""
    folder = tmp_path_factory.mktemp("images")
    paths = []
    for number in range(3 * BLOCK + 5):
        pixels = np.random.default_rng(number).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
        paths.append(folder / f"{number:03}.png")
        Image.fromarray(pixels).save(paths[-1])
    for number in (0, 3, *range(BLOCK, 2 * BLOCK)):  # one block is missing altogether
        paths[number].write_bytes(b"no image")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the processes have
    try:
        return results(0, 1, paths), together(results, 2, paths)
    finally:
        torch.set_num_threads(threads)


def identical(one, other) -> None:
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            identical(one[key], other[key])
    elif isinstance(one, tuple | list):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            identical(left, right)
    else:
        assert one == other


@pytest.mark.parametrize(
    "what",
    [
        *("knn", "pixels", "features", "files", "stored"),
        *("vje memory", "vje files", "vi_simsiam memory", "vi_simsiam files"),
    ],
)
def test_results_are_those_of_one_process_to_the_last_bit(measured, what):
    alone, (first, _) = measured
    identical(alone[what], first[what])


def test_every_image_is_scored_once_and_in_one_place(measured):
    alone, (first, second) = measured
    assert first["vje memory"][0].tolist() == list(range(2 * BLOCK + 22))
    left = [number for number in range(3 * BLOCK + 5) if number not in (0, 3, *range(BLOCK, 2 * BLOCK))]
    assert first["vje files"][0].tolist() == left
    assert len(first["vje memory"][1]) == len(alone["vje memory"][1]) > 10
    assert second["knn"] == {}
    assert second["pixels"] is None
    assert all(len(second[what][0]) == 0 for what in ("files", "features", "stored", "vje memory", "vje files"))
