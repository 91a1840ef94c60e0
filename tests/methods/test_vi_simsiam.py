"""VI-SimSiam's density against SciPy, and its numbers at large widths."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import gammaln

from tests.helpers.baselines import built, normal, views
from vje_ppl.methods.method import PredictiveDensity
from vje_ppl.methods.vi_simsiam import VISimSiam


def log_density(prediction: np.ndarray, target: np.ndarray, most: float = 1000.0) -> np.ndarray:
    """The power spherical density of De Cao and Aziz (2020), at what the predictor's output stands for."""
    dim = target.shape[1]
    loc = prediction[:, :-1] / np.linalg.norm(prediction[:, :-1], axis=1, keepdims=True)
    kappa = (dim - 1) * most * np.tanh(np.log1p(np.exp(prediction[:, -1])) / most)
    unit = target / np.linalg.norm(target, axis=1, keepdims=True)
    beta = (dim - 1) / 2
    alpha = beta + kappa
    normalizer = gammaln(alpha + beta) - gammaln(alpha) - beta * np.log(4 * np.pi)
    return kappa * np.log((1 + (loc * unit).sum(1)) / 2) + normalizer


def test_loss_is_minus_the_mean_log_density_a_feature():
    p_1, f_1, p_2, f_2 = (normal(6, 11 - seed % 2, seed=seed) for seed in range(4))
    loss, parts = built("vi_simsiam").pair((p_1, f_1), (p_2, f_2))
    values = [log_density(p_1.numpy(), f_2.numpy()), log_density(p_2.numpy(), f_1.numpy())]
    assert parts["log_density"].item() == pytest.approx(np.mean(values), rel=1e-11)
    assert loss.item() == pytest.approx(-np.mean(values) / 10, rel=1e-11)
    raw = np.concatenate([p_1[:, -1].numpy(), p_2[:, -1].numpy()])
    expected = np.mean(1000 * np.tanh(np.log1p(np.exp(raw)) / 1000))
    assert parts["concentration"].item() == pytest.approx(expected, rel=1e-12)


def test_surprise_and_uncertainty_are_those_of_the_density():
    module = built("vi_simsiam").eval()
    assert isinstance(module, PredictiveDensity)
    first, second = (module.embed(view).detach() for view in views())
    with torch.no_grad():
        projections = [module.projector(z) for z in (first, second)]
        prediction = module.predictor(projections[0]).double().numpy()
        surprise, uncertainty = module.surprise(first, second), module.uncertainty(first)
    expected = -log_density(prediction, projections[1].double().numpy())
    np.testing.assert_allclose(surprise, expected, rtol=1e-5, atol=1e-5)  # float32, of sums of about ten nats
    kappa = 9 * 1000 * np.tanh(np.log1p(np.exp(prediction[:, -1])) / 1000)
    np.testing.assert_allclose(uncertainty, -np.log(kappa), rtol=1e-5)


@pytest.mark.parametrize("raw", [-1e4, -150.0, -20.5, -19.5])
def test_uncertainty_is_finite_where_the_concentration_vanishes(raw):
    module = built("vi_simsiam").eval()
    last = module.predictor.layers[-1]
    with torch.no_grad():
        last.weight[-1] = 0.0
        last.bias[-1] = raw
        found = module.uncertainty(module.embed(views()[0]))
    # log softplus(u) is u − exp(u)/2 + … far below zero.
    np.testing.assert_allclose(found, -(raw + np.log(9.0)), rtol=1e-6)


@pytest.mark.parametrize("raw", [-1e4, -80.0, 0.0, 80.0, 1e4])
@pytest.mark.parametrize("sign", [1.0, 0.0, -1.0], ids=["right", "unrelated", "wrong"])
@pytest.mark.parametrize("dim", [2, 2048])
def test_values_and_gradients_are_finite_in_float32_at_any_certainty(raw, sign, dim):
    module = VISimSiam(built("vi_simsiam").encoder, [4, dim], 4)
    target = normal(3, dim).float()
    prediction = torch.cat([sign * target if sign else normal(3, dim, seed=1).float(), torch.full((3, 1), raw)], 1)
    prediction.requires_grad_()
    loss, parts = module.pair((prediction, target), (prediction, target))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(prediction.grad).all()
    assert 0 <= parts["concentration"] <= 1000


def test_concentration_is_sought_where_the_cosine_says():
    """A gradient step on the concentration alone raises it below, and lowers it above, what the cosine calls for."""
    module = VISimSiam(built("vi_simsiam").encoder, [4, 65], 4)
    loc, tangent = torch.eye(65, dtype=torch.float64)[:2]
    target = 0.9 * loc + (1 - 0.81) ** 0.5 * tangent  # a mean cosine of 0.9 is a concentration of about 9 (P − 1)
    for raw, direction in ((4.0, -1), (14.0, 1)):
        prediction = torch.cat([loc, torch.tensor([raw], dtype=torch.float64)]).unsqueeze(0).requires_grad_()
        loss, _ = module.pair((prediction, target.unsqueeze(0)), (prediction, target.unsqueeze(0)))
        loss.backward()
        assert prediction.grad[0, -1].sign() == direction


@pytest.mark.parametrize(("projector", "most"), [([4, 1], 10.0), ([4, 4], 0.0)], ids=["width", "bound"])
def test_what_has_no_density_is_refused(projector, most):
    with pytest.raises(ValueError, match="expects a projector of 2 features or more and most_concentrated > 0"):
        VISimSiam(built("vi_simsiam").encoder, projector, 4, most)
