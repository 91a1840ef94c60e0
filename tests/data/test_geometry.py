import math

import numpy as np
import pytest
import torch
from torchvision.transforms import RandomResizedCrop as TorchvisionCrop
from torchvision.transforms import functional as torchvision_functional

from vje_ppl.data.transforms import HorizontalFlip, RandomResizedCrop, VerticalFlip
from vje_ppl.data.transforms.resample import cut_and_resize, interpolation_weights
from vje_ppl.errors import UserError

FLOAT = torch.finfo(torch.float32).eps


def whole(count, height, width):
    return np.tile(np.array([0.0, 0.0, height, width]), (count, 1))


def pixels(*shape):
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(1)).float()


@pytest.mark.parametrize(("height", "width", "size"), [(32, 32, 32), (8, 8, 8)])
def test_cutting_the_whole_image_at_its_size_returns_it_exactly(height, width, size):
    images = pixels(3, 3, height, width)
    assert torch.equal(cut_and_resize(images, torch.from_numpy(whole(3, height, width)).float(), size), images)


@pytest.mark.parametrize("size", [16, 32, 45], ids=["shrunk", "same", "enlarged"])
@pytest.mark.parametrize(
    "box",
    [(0, 0, 40, 48), (3, 5, 20, 31), (10, 20, 7, 5), (39, 47, 1, 1)],
    ids=["whole", "wide", "small", "one pixel"],
)
def test_cut_equals_torchvisions_resized_crop(box, size):
    images = pixels(2, 3, 40, 48)
    ours = cut_and_resize(images, torch.tensor([box, box]).float(), size)
    theirs = torchvision_functional.resized_crop(images, *box, [size, size], antialias=True)
    # Centres reach 48 pixels and are rounded to half an ulp in each of about 4 operations, which moves a weight by
    # 4 x 48 ulp at most; two axes, values up to 255.
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2 * 4 * 48 * FLOAT * 255)


@pytest.mark.parametrize(
    ("turn", "dim"), [((0, 2), (0, -1)), ((1, 3), (1, -1))], ids=["bottom to top", "right to left"]
)
def test_negative_extent_mirrors_the_cut(turn, dim):
    images, box = pixels(1, 3, 20, 24), torch.tensor([[2.0, 3.0, 11.0, 13.0]])
    start, extent = turn
    mirrored = box.clone()
    mirrored[0, start] += box[0, extent]
    mirrored[0, extent] *= -1
    expected = cut_and_resize(images, box, 9).flip(2 + dim[0])
    torch.testing.assert_close(cut_and_resize(images, mirrored, 9), expected, rtol=0, atol=2 * 4 * 24 * FLOAT * 255)


def test_weights_are_convex_and_confined_to_the_box():
    start, extent = torch.tensor([3.0, 18.0]), torch.tensor([10.0, -9.0])
    weights = interpolation_weights(start, extent, 6, 20)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 6), rtol=0, atol=20 * FLOAT)
    assert not weights[0, :, :3].any()
    assert not weights[0, :, 13:].any()
    assert not weights[1, :, :9].any()
    assert not weights[1, :, 18:].any()


def test_crop_has_torchvisions_distribution():
    count, height, width = 4000, 32, 48
    scale, ratio = (0.2, 1.0), (3 / 4, 4 / 3)
    ours = RandomResizedCrop(scale, ratio)(np.random.default_rng(0), whole(count, height, width))
    torch.manual_seed(0)
    image = torch.empty(3, height, width)
    theirs = np.array([TorchvisionCrop.get_params(image, list(scale), list(ratio)) for _ in range(count)])
    # Kolmogorov and Smirnov: the distance of two samples of equal distribution exceeds this once in a million.
    bound = math.sqrt(math.log(2 / 1e-6) / 2) * math.sqrt(2 / count)
    for name, column in {
        "top": lambda boxes: boxes[:, 0],
        "left": lambda boxes: boxes[:, 1],
        "height": lambda boxes: boxes[:, 2],
        "width": lambda boxes: boxes[:, 3],
        "area": lambda boxes: boxes[:, 2] * boxes[:, 3],
        "room used": lambda boxes: boxes[:, 0] / np.maximum(height - boxes[:, 2], 1),
    }.items():
        a, b = np.sort(column(ours)), np.sort(column(theirs))
        grid = np.concatenate([a, b])
        distance = np.abs(np.searchsorted(a, grid, "right") - np.searchsorted(b, grid, "right")).max() / count
        assert distance < bound, name


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(10, 100, (0, 43, 10, 13)), (100, 10, (43, 0, 13, 10))],
    ids=["too wide", "too tall"],
)
def test_crop_that_never_fits_is_central_with_an_allowed_ratio(height, width, expected):
    # A share of at least 0.9 of the area cannot have an allowed ratio: the largest allowed box is 10 x 13 pixels.
    boxes = RandomResizedCrop((0.9, 1.0))(np.random.default_rng(0), whole(5, height, width))
    assert np.array_equal(boxes, np.tile(expected, (5, 1)))


@pytest.mark.parametrize("order", ["crop first", "flip first"])
def test_boxes_stay_inside_the_image(order):
    transforms = [RandomResizedCrop((0.05, 1.0)), HorizontalFlip(0.5), VerticalFlip(0.5)]
    boxes, rng = whole(500, 9, 14), np.random.default_rng(0)
    for transform in transforms if order == "crop first" else reversed(transforms):
        boxes = transform(rng, boxes)
    for start, extent, length in ((0, 2, 9), (1, 3, 14)):
        ends = np.stack([boxes[:, start], boxes[:, start] + boxes[:, extent]])
        assert ends.min() >= 0
        assert ends.max() <= length
        assert np.abs(boxes[:, extent]).min() >= 1
        assert {-1.0, 1.0} == set(np.sign(boxes[:, extent]))


@pytest.mark.parametrize("flip", [HorizontalFlip, VerticalFlip])
def test_flip_rate_and_involution(flip):
    boxes = whole(4000, 8, 12)
    turned = flip(0.3)(np.random.default_rng(0), boxes)
    rate = (turned != boxes).any(axis=1).mean()
    assert abs(rate - 0.3) < 5 * math.sqrt(0.3 * 0.7 / 4000)
    twice = flip(1.0)(np.random.default_rng(0), flip(1.0)(np.random.default_rng(0), boxes))
    assert np.array_equal(twice, boxes)
    assert np.array_equal(flip(0.0)(np.random.default_rng(0), boxes), boxes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: RandomResizedCrop((0.0, 1.0)), r"scale must satisfy.*got \[0.0, 1.0\]", id="no area"),
        pytest.param(lambda: RandomResizedCrop((0.5, 2.0)), "scale must satisfy", id="beyond the image"),
        pytest.param(lambda: RandomResizedCrop(ratio=(2.0, 1.0)), "ratio must satisfy", id="ratio reversed"),
        pytest.param(lambda: HorizontalFlip(1.5), "between 0 and 1, got 1.5", id="probability"),
    ],
)
def test_impossible_options_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()
