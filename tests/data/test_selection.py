import numpy as np
import pytest

from vje_ppl.data.selection import stratified_hold_out, subset_indices
from vje_ppl.errors import UserError


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
    with pytest.raises(UserError, match=f"data.subset={count} .* 100 training images; set it to 1 to 100"):
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
