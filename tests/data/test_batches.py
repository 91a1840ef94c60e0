import logging
import multiprocessing
import os
import random
import signal

import numpy as np
import pytest
import torch

from vje_ppl.data import InMemoryImages, StreamedImages, TrainingBatches, evaluation_batches
from vje_ppl.errors import UserError

CPU = torch.device("cpu")
COUNT = 26


@pytest.fixture
def in_memory():
    pixels = torch.randint(0, 256, (COUNT, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return InMemoryImages(pixels, torch.arange(COUNT) % 3, ("a", "b", "c"))


@pytest.fixture
def streamed(tmp_path, write_image):
    def make(workers=0, skip=False):
        paths = [tmp_path / f"{number:02}.jpg" for number in range(COUNT)]
        for number, path in enumerate(paths):
            if not path.exists():
                write_image(path, height=40 + number, width=70 - number, seed=number)
        return StreamedImages(paths, workers=workers, skip_unreadable=skip)

    return make


@pytest.fixture(params=["in memory", "streamed"])
def images(request, in_memory, streamed):
    return in_memory if request.param == "in memory" else streamed()


def batches_of(images, recipe, **changes):
    return TrainingBatches(images, recipe, **({"batch_size": 8, "seed": 0, "device": CPU} | changes))


def assert_equal(first, second):
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        assert one.step == other.step
        assert torch.equal(one.index, other.index)
        assert len(one.views) == len(other.views)
        for view, twin in zip(one.views, other.views, strict=True):
            assert torch.equal(view, twin)


def test_epoch_visits_each_image_at_most_once_in_a_new_order(images, make_recipe):
    batches = batches_of(images, make_recipe())
    assert batches.steps_per_epoch == 3
    orders = []
    for epoch in range(2):
        visited = list(batches.epoch(epoch))
        assert [batch.step for batch in visited] == [3 * epoch, 3 * epoch + 1, 3 * epoch + 2]
        orders.append(torch.cat([batch.index for batch in visited]))
        assert len(orders[-1].unique()) == 24
        for batch in visited:
            assert [view.shape for view in batch.views] == [(8, 3, 32, 32)] * 2
            assert batch.views[0].is_contiguous(memory_format=torch.channels_last)
            assert not torch.equal(*batch.views)
            assert batch.wait_s >= 0
    assert not torch.equal(*orders)


def test_index_names_the_images(in_memory, make_recipe):
    recipe = make_recipe(geometry={}, color={}, filters={}, mean=[0.0], std=[1.0])
    for batch in batches_of(in_memory, recipe).epoch(0):
        for view in batch.views:
            assert torch.equal((view * 255).round().to(torch.uint8), in_memory.images[batch.index])


@pytest.mark.parametrize("views", [1, 3])
def test_number_of_views(images, make_recipe, views):
    batch = next(iter(batches_of(images, make_recipe(), views=views).epoch(0)))
    assert len(batch.views) == views


def test_same_seed_same_batches_other_seed_others(images, make_recipe):
    first = list(batches_of(images, make_recipe()).epoch(1))
    assert_equal(first, list(batches_of(images, make_recipe()).epoch(1)))
    other = next(iter(batches_of(images, make_recipe(), seed=1).epoch(1)))
    assert not torch.equal(other.index, first[0].index)
    assert not torch.equal(other.views[0], first[0].views[0])


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_together_make_the_batch_of_one_process(images, make_recipe, world_size):
    alone = list(batches_of(images, make_recipe()).epoch(2))
    ranks = [
        list(batches_of(images, make_recipe(), rank=rank, world_size=world_size).epoch(2)) for rank in range(world_size)
    ]
    for step, batch in enumerate(alone):
        shares = [rank[step] for rank in ranks]
        assert {share.step for share in shares} == {batch.step}
        assert torch.equal(torch.cat([share.index for share in shares]), batch.index)
        for view in range(2):
            assert torch.equal(torch.cat([share.views[view] for share in shares]), batch.views[view])


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_change_batches(streamed, make_recipe, workers):
    without, with_workers = (batches_of(streamed(count), make_recipe()) for count in (0, workers))
    for epoch in range(2):
        assert_equal(list(without.epoch(epoch)), list(with_workers.epoch(epoch)))


@pytest.mark.parametrize("start_step", [1, 2])
def test_epoch_resumes_in_its_middle(images, make_recipe, start_step):
    whole = list(batches_of(images, make_recipe()).epoch(3))
    assert_equal(whole[start_step:], list(batches_of(images, make_recipe()).epoch(3, start_step)))


def test_epoch_left_in_its_middle_does_not_disturb_the_next(streamed, make_recipe):
    batches = batches_of(streamed(2), make_recipe())
    next(iter(batches.epoch(0)))
    left = batches.epoch(1)
    next(left)
    left.close()
    assert_equal(list(batches.epoch(1)), list(batches_of(streamed(0), make_recipe()).epoch(1)))


@pytest.mark.parametrize("workers", [0, 2])
def test_global_generators_are_neither_read_nor_moved(in_memory, streamed, make_recipe, workers):
    def everything():
        collected = []
        for images in (in_memory, streamed(workers)):
            collected += [view for batch in batches_of(images, make_recipe()).epoch(0) for view in batch.views]
            prepared = evaluation_batches(images, make_recipe().evaluation, batch_size=8, device=CPU)
            collected += [batch for _, batch in prepared]
        return collected

    def state():
        # Python's own generator is left out: the type checker of these tests draws from it.
        return np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = state()
    first = everything()
    assert state() == before
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    assert all(torch.equal(one, other) for one, other in zip(first, everything(), strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"batch_size": 27}, "batch_size=27 does not fit a training set of 26 images", id="too large"),
        pytest.param({"batch_size": 0}, "between 1 and 26", id="empty"),
        pytest.param({"world_size": 3}, "multiple of 3; try batch_size=6", id="not divisible"),
        pytest.param({"seed": -1}, "seed must be 0 or more, got -1", id="seed"),
    ],
)
def test_impossible_batches_are_refused(in_memory, make_recipe, changes, message):
    with pytest.raises(UserError, match=message):
        batches_of(in_memory, make_recipe(), **changes)


def test_images_in_memory_smaller_than_the_views_are_refused_at_once(in_memory, make_recipe):
    with pytest.raises(UserError, match="32×32 pixels, smaller than the views of 33×33"):
        batches_of(in_memory, make_recipe(size=33))


def test_negative_workers_are_refused(streamed, make_recipe):
    with pytest.raises(UserError, match=r"data.workers must be 0 or more, got -1"):
        batches_of(streamed(-1), make_recipe())


@pytest.mark.parametrize("workers", [0, 2])
def test_truncated_file_is_named(streamed, make_recipe, workers, tmp_path):
    images = streamed(workers)
    path = tmp_path / "07.jpg"
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(UserError, match=rf"^the image {path} cannot be read .*truncated.*data.on_error=skip") as caught:
        list(batches_of(images, make_recipe(), batch_size=13).epoch(0))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=f"{path} cannot be read"):
        list(evaluation_batches(images, make_recipe().evaluation, batch_size=8, device=CPU))


@pytest.mark.parametrize("workers", [0, 2])
def test_small_file_is_named_with_its_size(streamed, make_recipe, workers, write_image, tmp_path):
    images = streamed(workers)
    write_image(tmp_path / "11.jpg", height=31, width=90)
    with pytest.raises(UserError, match=r"11.jpg is 31×90 pixels, smaller than .* 32×32 .*augment.size to at most 31"):
        list(batches_of(images, make_recipe(), batch_size=13).epoch(0))


@pytest.mark.parametrize("workers", [0, 2])
def test_unusable_files_are_skipped_on_request(streamed, make_recipe, workers, tmp_path, caplog, write_image):
    good = {
        int(batch.index[row]): (batch.step, row, batch.views[0][row])
        for batch in batches_of(streamed(), make_recipe(), batch_size=13).epoch(0)
        for row in range(13)
    }
    (tmp_path / "07.jpg").write_bytes(b"no image")
    (tmp_path / "09.jpg").unlink()
    images = StreamedImages(
        [tmp_path / f"{number:02}.jpg" for number in range(COUNT)], workers=workers, skip_unreadable=True
    )
    batches = batches_of(images, make_recipe(), batch_size=13)
    with caplog.at_level(logging.WARNING):
        visited = list(batches.epoch(0))
        assert [batch.step for batch in batches.epoch(1)] == [2, 3]
    seen = {int(index) for batch in visited for index in batch.index}
    assert seen == set(range(COUNT)) - {7, 9}
    # The next readable file takes the place of an unusable one; the others are as they would have been.
    for index, (step, row, view) in good.items():
        assert int(visited[step].index[row]) == {7: 8, 9: 10}.get(index, index)
        if index not in (7, 9):
            assert torch.equal(visited[step].views[0][row], view)
    assert len(caplog.records) == 1
    assert "left out 2 unusable image file(s)" in caplog.text
    assert "07.jpg" in caplog.text
    assert "09.jpg" in caplog.text

    caplog.clear()
    prepared = list(evaluation_batches(images, make_recipe().evaluation, batch_size=8, device=CPU))
    assert torch.cat([index for index, _ in prepared]).tolist() == sorted(seen)
    assert len(caplog.records) == 1


@pytest.mark.skipif(not hasattr(signal, "alarm"), reason="workers die at once where there are no alarms")
@pytest.mark.parametrize("sent", ["SIGTERM", "SIGINT"])
def test_workers_outlive_the_signal_that_stops_training(streamed, make_recipe, sent):
    batches = batches_of(streamed(2), make_recipe()).epoch(0)
    visited = [next(batches), next(batches)]  # one of each worker, so that both are up
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    for worker in workers:
        os.kill(worker.pid, signal.Signals[sent])
    assert_equal(visited + list(batches), list(batches_of(streamed(0), make_recipe()).epoch(0)))


def test_death_of_a_worker_is_one_sentence(streamed, make_recipe, monkeypatch):
    class Dying:
        def __iter__(self):
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.\nand more")

    batches = batches_of(streamed(0), make_recipe())
    monkeypatch.setattr(batches._reader._loader, "_loader", Dying())
    with pytest.raises(UserError, match=r"^a worker that decodes images died.*data.workers=0 .*signal: Killed\)\.$"):
        list(batches.epoch(0))


def test_folder_of_unusable_files_alone_is_an_error_even_when_skipping(tmp_path, make_recipe):
    paths = [tmp_path / f"{number}.jpg" for number in range(4)]
    for path in paths:
        path.write_bytes(b"no image")
    images = StreamedImages(paths, workers=0, skip_unreadable=True)
    with pytest.raises(UserError, match="4 files in a row cannot be used"):
        list(batches_of(images, make_recipe(), batch_size=2).epoch(0))


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_goes_through_all_images_in_order(in_memory, streamed, make_recipe, workers):
    for images in (in_memory, streamed(workers)):
        prepared = list(evaluation_batches(images, make_recipe().evaluation, batch_size=10, device=CPU))
        assert [len(index) for index, _ in prepared] == [10, 10, 6]
        assert torch.equal(torch.cat([index for index, _ in prepared]), torch.arange(COUNT))
        for index, batch in prepared:
            assert batch.shape == (len(index), 3, 32, 32)
            assert batch.is_contiguous(memory_format=torch.channels_last)


def test_streamed_evaluation_is_close_to_the_one_in_memory(streamed, make_recipe):
    from PIL import Image

    images = streamed()
    evaluation = make_recipe(center_fraction=0.875).evaluation
    (_, prepared), *_ = evaluation_batches(images, evaluation, batch_size=COUNT, device=CPU)
    for number in range(COUNT):
        pixels = torch.from_numpy(np.array(Image.open(images.path(number)))).permute(2, 0, 1)
        # Files are resized in bytes, rounded after each axis, and the filter of the resize reaches beyond the square:
        # together about one level of 255, more at the border where colours are steep; the standard deviation is 0.25.
        difference = (evaluation(pixels[None]) - prepared[number]).abs() * 0.25 * 255
        assert difference[..., 2:-2, 2:-2].max() < 2
        assert difference.mean() < 1
