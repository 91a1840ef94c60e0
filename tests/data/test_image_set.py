import pickle

import numpy as np
import pytest
import torch

from vje_ppl.data import InMemoryImages, StreamedImages


@pytest.fixture(params=["in memory", "streamed"])
def images(request):
    labels = torch.tensor([0, 1, 1, 0])
    if request.param == "in memory":
        return InMemoryImages(torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1), labels, ("a", "b"))
    paths = [f"/images/{name}.jpg" for name in ("one", "zwei", "trois ü", "4")]
    return StreamedImages(paths, labels, ("a", "b"), channels=1, workers=3, skip_unreadable=True)


def contents(images):
    if isinstance(images, InMemoryImages):
        return images.images.flatten().tolist()
    return [images.path(index) for index in range(len(images))]


def test_select_keeps_order_labels_and_settings(images):
    chosen = images.select(np.array([2, 0]))
    assert len(images) == 4
    assert len(chosen) == 2
    assert contents(chosen) == [contents(images)[2], contents(images)[0]]
    assert chosen.labels.tolist() == [1, 0]
    assert chosen.classes == ("a", "b")
    assert chosen.channels == images.channels == 1
    if isinstance(images, StreamedImages):
        assert (chosen.workers, chosen.skip_unreadable) == (3, True)


def test_set_crosses_to_another_process(images):
    twin = pickle.loads(pickle.dumps(images))
    assert contents(twin) == contents(images)
    assert torch.equal(twin.labels, images.labels)


def test_labels_must_match_the_images():
    with pytest.raises(ValueError, match=r"one label per image \(2 images\), got 3 labels"):
        StreamedImages(["a.jpg", "b.jpg"], torch.zeros(3, dtype=torch.int64))
