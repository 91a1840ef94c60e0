"""Clean and random views in evaluation: every image once, and random numbers that belong to images."""

import numpy as np
import pytest
import torch

from vje_ppl.data import InMemoryImages, StreamedImages, evaluation_batches
from vje_ppl.data.batches import BLOCK, evaluation_views

CPU = torch.device("cpu")


def joined(images, recipe, views=2, seed=5):
    index, parts = zip(*evaluation_views(images, recipe, views=views, seed=seed, device=CPU), strict=True)
    return torch.cat(index), [torch.cat(view) for view in zip(*parts, strict=True)]


@pytest.fixture
def in_memory():
    generator = torch.Generator().manual_seed(0)
    return InMemoryImages(torch.randint(0, 256, (BLOCK + 9, 3, 40, 40), dtype=torch.uint8, generator=generator))


def test_every_image_once_the_clean_view_first(in_memory, make_recipe):
    recipe = make_recipe()
    index, views = joined(in_memory, recipe)
    assert index.tolist() == list(range(BLOCK + 9))
    assert [view.shape for view in views] == [(BLOCK + 9, 3, 32, 32)] * 3
    prepared = evaluation_batches(in_memory, recipe.evaluation, batch_size=1000, device=CPU)
    assert torch.equal(views[0], next(iter(prepared))[1])
    assert not torch.equal(views[1], views[2])
    assert len(joined(in_memory, recipe, views=0)[1]) == 1


def test_a_random_view_depends_on_seed_image_and_view_alone(in_memory, make_recipe):
    recipe = make_recipe()
    _, views = joined(in_memory, recipe)
    _, again = joined(in_memory, recipe, views=3)
    _, fewer = joined(in_memory.select(np.arange(BLOCK + 2)), recipe)
    _, other = joined(in_memory, recipe, seed=6)
    for view in (1, 2):
        assert torch.equal(again[view], views[view])
        torch.testing.assert_close(fewer[view], views[view][: BLOCK + 2])
        assert not torch.equal(other[view], views[view])


@pytest.mark.parametrize("workers", [0, 2])
def test_files_that_are_skipped_are_left_out(tmp_path, make_recipe, write_image, workers):
    paths = [write_image(tmp_path / f"{number}.png", 40, 40, seed=number) for number in range(BLOCK + 6)]
    recipe = make_recipe()
    whole_index, whole = joined(StreamedImages(paths, workers=0), recipe)
    assert whole_index.tolist() == list(range(BLOCK + 6))
    broken = [3, 4, BLOCK - 1, BLOCK + 5]
    for number in broken:
        paths[number].write_bytes(b"no image")
    index, views = joined(StreamedImages(paths, workers=workers, skip_unreadable=True), recipe)
    kept = [number for number in range(BLOCK + 6) if number not in broken]
    assert index.tolist() == kept
    for one, other in zip(views, whole, strict=True):
        torch.testing.assert_close(one, other[kept])


def test_a_block_of_broken_files_is_left_out(tmp_path, make_recipe, write_image):
    paths = [tmp_path / f"{number}.png" for number in range(BLOCK)]
    for path in paths:
        path.write_bytes(b"no image")
    paths += [write_image(tmp_path / f"good{number}.png", seed=number) for number in range(3)]
    index, views = joined(StreamedImages(paths, workers=0, skip_unreadable=True), make_recipe())
    assert index.tolist() == [BLOCK, BLOCK + 1, BLOCK + 2]
    assert len(views[1]) == 3
