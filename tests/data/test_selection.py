import numpy as np
import pytest

from vje_ppl.data.fingerprint import name_keys
from vje_ppl.data.hold_out import hold_out_by_name, stratified_hold_out
from vje_ppl.data.selection import subset_indices
from vje_ppl.errors import UserError
from vje_ppl.parallel.randomness import Stream


def test_subset_is_fixed_increasing_and_nested():
    small, large = subset_indices(100, 10), subset_indices(100, 30)
    assert np.array_equal(small, subset_indices(100, 10))
    assert (np.diff(small) > 0).all()
    assert set(small) < set(large)
    assert not np.array_equal(small, np.arange(10))
    assert np.array_equal(subset_indices(5, None), np.arange(5))
    assert np.array_equal(subset_indices(5, 5), np.arange(5))


@pytest.mark.parametrize("count", [0, -3, 101])
def test_impossible_subset_is_refused(count):
    with pytest.raises(UserError, match=f"data.subset expects 1 to 100, the number of training images, got {count}"):
        subset_indices(100, count)


def test_hold_out_takes_the_same_share_of_each_class():
    labels = np.repeat([0, 1, 2], [100, 50, 10])
    train, test = stratified_hold_out(labels, 0.1)
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(160))
    assert np.bincount(labels[test]).tolist() == [10, 5, 1]
    assert all(
        np.array_equal(one, other) for one, other in zip((train, test), stratified_hold_out(labels, 0.1), strict=True)
    )


def test_hold_out_leaves_every_class_something_to_train_on():
    labels = np.repeat([0, 1, 2], [1, 2, 3])
    train, test = stratified_hold_out(labels, 0.9)
    assert np.bincount(labels[train], minlength=3).tolist() == [1, 1, 1]
    train, test = stratified_hold_out(labels, 0.01)
    assert np.bincount(labels[test], minlength=3).tolist() == [0, 1, 1]


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5])
def test_impossible_fraction_is_refused(fraction):
    with pytest.raises(UserError, match=r"data.test_fraction must lie between 0 and 1"):
        stratified_hold_out(np.zeros(4, dtype=np.int64), fraction)


KEYS = name_keys(f"class/{number}.png" for number in range(20_000))


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_names_hold_out_about_the_share(fraction):
    train, test = hold_out_by_name(np.zeros(len(KEYS), np.int64), KEYS, fraction, Stream.TEST_SPLIT)
    assert sorted([*train, *test]) == list(range(len(KEYS)))
    spread = np.sqrt(len(KEYS) * fraction * (1 - fraction))
    assert abs(len(test) - fraction * len(KEYS)) < 5 * spread


def test_sides_depend_on_names_alone():
    labels = np.arange(len(KEYS)) % 4
    _, test = hold_out_by_name(labels, KEYS, 0.2, Stream.TEST_SPLIT)
    chosen = np.random.default_rng(0).permutation(len(KEYS))[:5000]
    _, part = hold_out_by_name(labels[chosen], KEYS[chosen], 0.2, Stream.TEST_SPLIT)
    assert set(chosen[part]) == set(test) & set(chosen)


def test_two_splits_by_name_have_nothing_to_do_with_each_other():
    labels = np.zeros(len(KEYS), np.int64)
    kept, _ = hold_out_by_name(labels, KEYS, 0.1, Stream.TEST_SPLIT)
    _, again = hold_out_by_name(labels[kept], KEYS[kept], 0.25, Stream.HOLD_OUT)
    assert abs(len(again) - len(kept) / 4) < 5 * np.sqrt(len(kept) * 0.25 * 0.75)


@pytest.mark.parametrize("fraction", [1e-9, 1 - 1e-9])
def test_names_leave_every_class_of_two_on_either_side(fraction):
    labels = np.repeat([0, 1, 2], [1, 2, 50])
    train, test = hold_out_by_name(labels, KEYS[: len(labels)], fraction, Stream.TEST_SPLIT)
    few = {0: 0, 1: 1, 2: 1}
    smaller = test if fraction < 0.5 else train
    alone = 0 if fraction < 0.5 else 1  # the only image of its class is trained on
    assert {label: int((labels[smaller] == label).sum()) for label in few} == few | {0: alone}


def test_images_without_names_are_drawn_as_ever():
    import hashlib

    _, test = stratified_hold_out(np.arange(1000) % 10, 0.2)
    assert hashlib.sha256(test.astype("<i8").tobytes()).hexdigest()[:16] == "242d192f085df70d"


def test_no_unlabelled_image_is_held_out():
    labels = np.where(np.arange(len(KEYS)) % 3, -1, 0)
    _, by_name = hold_out_by_name(labels, KEYS, 0.5, Stream.TEST_SPLIT)
    _, by_place = stratified_hold_out(labels, 0.5)
    for test in (by_name, by_place):
        assert len(test)
        assert (labels[test] == 0).all()
