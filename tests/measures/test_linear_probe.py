import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from vje_ppl.errors import UserError
from vje_ppl.measures.linear_probe import LinearRecipe, LinearResult, _fit, linear_probe

CPU = torch.device("cpu")


def clusters(seed, rows, width=8, classes=4, spread=1.0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (rows,), generator=generator)
    centres = 2 * torch.randn(classes, width, generator=torch.Generator().manual_seed(99))
    return centres[labels] + spread * torch.randn(rows, width, generator=generator), labels


def probed(train, test, recipe=None, classes=4):
    recipe = recipe or LinearRecipe(epochs=30, batch_size=64)
    return linear_probe(*train, *test, num_classes=classes, recipe=recipe, device=CPU)


@pytest.mark.parametrize("spread", [0.3, 2.5], ids=["separable", "overlapping"])
def test_accuracy_is_logistic_regressions_within_sampling_error(spread):
    train, test = clusters(0, 600, spread=spread), clusters(1, 500, spread=spread)
    peer = LogisticRegression(C=10, max_iter=2000).fit(train[0].double().numpy(), train[1].numpy())
    expected = peer.score(test[0].double().numpy(), test[1].numpy())

    found = probed(train, test)

    # Both classify the same images, so the standard error of the difference is less than that of two proportions.
    error = math.sqrt(2 * max(expected * (1 - expected), 0.01) / len(test[1]))
    assert abs(found.top1 - expected) <= 2 * error
    assert (expected > 0.99) == (spread < 1)
    assert found.top5 == 1.0


def test_steps_are_those_of_gradient_descent_with_momentum_and_a_cosine():
    (features, labels), rate, steps = clusters(0, 50, spread=2.0), 0.5, 7
    probe = _fit(features, labels, torch.arange(40), (0.1, rate), 4, LinearRecipe(epochs=steps, batch_size=40), CPU)

    x, onehot = features[:40].double().numpy(), np.eye(4)[labels[:40].numpy()]
    x = np.hstack([(x - x.mean(0)) / x.std(0), np.ones((40, 1))])
    weights = velocity = np.zeros((9, 4))
    for step in range(steps):
        logits = x @ weights
        share = np.exp(logits - logits.max(1, keepdims=True))
        gradient = x.T @ (share / share.sum(1, keepdims=True) - onehot) / 40
        velocity = 0.9 * velocity + gradient
        weights = weights - rate * 0.5 * (1 + math.cos(math.pi * step / steps)) * velocity
    np.testing.assert_allclose(probe.weights[1].detach(), weights[:-1], atol=1e-5)
    np.testing.assert_allclose(probe.biases[1].detach(), weights[-1], atol=1e-5)


def test_the_learning_rate_is_the_best_on_the_hold_out():
    train, test = clusters(0, 400, spread=4.0), clusters(1, 100, spread=4.0)
    found = probed(train, test, LinearRecipe((300.0, 0.1, 30.0), epochs=5, batch_size=16, hold_out=0.4))
    assert list(found.hold_out_top1) == [300.0, 0.1, 30.0]
    assert len(set(found.hold_out_top1.values())) > 1
    assert found.hold_out_top1[found.learning_rate] == max(found.hold_out_top1.values())


def test_the_smallest_learning_rate_is_chosen_among_equals():
    train, test = clusters(0, 300, spread=0.2), clusters(1, 100, spread=0.2)
    found = probed(train, test, LinearRecipe((0.1, 0.01, 0.3), epochs=20, batch_size=32))
    assert set(found.hold_out_top1.values()) == {1.0}
    assert found.learning_rate == 0.01


@pytest.mark.parametrize(
    ("accuracy", "chosen", "expected"),
    [
        pytest.param({0.1: 0.9, 0.01: 0.8, 1.0: 0.7}, 0.1, False, id="inside"),
        pytest.param({0.1: 0.8, 0.01: 0.9, 1.0: 0.7}, 0.01, True, id="lower end"),
        pytest.param({0.1: 0.8, 0.01: 0.7, 1.0: 0.9}, 1.0, True, id="upper end"),
        pytest.param({0.1: 0.9, 0.01: 0.9, 1.0: 0.7}, 0.01, False, id="tie with the neighbour"),
        pytest.param({0.1: 0.9}, 0.1, False, id="one alone"),
    ],
)
def test_a_choice_at_the_end_of_the_grid_is_told(accuracy, chosen, expected):
    assert LinearResult(0.5, 0.9, chosen, accuracy).at_edge is expected


def test_a_learning_rate_trains_as_if_it_were_alone():
    train, test = clusters(0, 300, spread=2.0), clusters(1, 100, spread=2.0)
    together = probed(train, test, LinearRecipe((0.01, 0.3), epochs=3))
    for rate in (0.01, 0.3):
        alone = probed(train, test, LinearRecipe((rate,), epochs=3))
        assert alone.hold_out_top1[rate] == together.hold_out_top1[rate]


def test_the_same_twice_and_another_order_with_another_seed():
    train, test = clusters(0, 400, spread=3.0), clusters(1, 400, spread=3.0)
    first, again = (probed(train, test, LinearRecipe(epochs=2, batch_size=16)) for _ in range(2))
    assert first == again
    others = [probed(train, test, LinearRecipe(epochs=2, batch_size=16, seed=seed)) for seed in (1, 2, 3)]
    assert any(other.hold_out_top1 != first.hold_out_top1 or other.top1 != first.top1 for other in others)


def test_neither_scale_nor_shift_of_features_matters():
    (train, labels), (test, test_labels) = clusters(0, 300), clusters(1, 200)
    factors, shift = torch.logspace(-4, 4, 8), 100 * torch.randn(8)
    plain = probed((train, labels), (test, test_labels))
    moved = probed(((train * factors + shift).double(), labels), ((test * factors + shift).double(), test_labels))
    assert abs(plain.top1 - moved.top1) <= 0.02  # single images near a border, by rounding
    assert plain.top1 > 0.9


def test_bytes_images_with_pixels_that_never_vary():
    images = torch.zeros(200, 1, 4, 4, dtype=torch.uint8)
    labels = torch.arange(200) % 2
    images[:, 0, 1, 2] = (100 + 50 * labels + torch.arange(200) % 7).to(torch.uint8)
    found = linear_probe(
        images, labels, images[:50], labels[:50], num_classes=2, recipe=LinearRecipe(epochs=5), device=CPU
    )
    assert found.top1 == 1.0


def test_top5_counts_the_five_largest():
    train, test = clusters(0, 2000, width=6, classes=12, spread=4.0), clusters(1, 600, width=6, classes=12, spread=4.0)
    found = probed(train, test, LinearRecipe((0.1,), epochs=10), classes=12)
    peer = LogisticRegression(max_iter=2000).fit(train[0].double().numpy(), train[1].numpy())
    ranks = np.argsort(-peer.predict_proba(test[0].double().numpy()), axis=1)
    expected = (ranks[:, :5] == test[1].numpy()[:, None]).any(1).mean()
    assert found.top5 > found.top1 + 0.1
    assert abs(found.top5 - expected) <= 2 * math.sqrt(2 * expected * (1 - expected) / 600)


@pytest.mark.parametrize("classes", [1, 3, 8])
def test_a_single_image_a_class_leaves_no_choice_of_rate(classes):
    labels = torch.arange(classes)
    train, test = (4 * torch.eye(8)[labels], labels), (4 * torch.eye(8)[labels].repeat(2, 1), labels.repeat(2))
    with pytest.raises(
        UserError, match=rf"no class has two images among these {classes}; give a single rate, such as linear.lr"
    ):
        probed(train, test, LinearRecipe((0.1, 1.0), epochs=3), classes=classes)
    found = probed(train, test, LinearRecipe((0.3,), epochs=20), classes=classes)
    assert (found.top1, found.learning_rate, found.hold_out_top1, found.at_edge) == (1.0, 0.3, {}, False)


def test_one_class_with_two_images_is_enough_for_a_choice():
    train = (torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.1, 0.0]]), torch.tensor([0, 1, 1]))
    found = probed(train, train, LinearRecipe((0.1, 1.0), epochs=20, hold_out=0.1), classes=2)
    assert set(found.hold_out_top1) == {0.1, 1.0}
