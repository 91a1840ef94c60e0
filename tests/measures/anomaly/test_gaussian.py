import numpy as np
import pytest
import torch
from scipy.linalg import pinvh
from scipy.stats import multivariate_normal, ortho_group
from sklearn.covariance import LedoitWolf

from vje_ppl.measures.anomaly.gaussian import Gaussian, inverse

CPU = torch.device("cpu")


def test_the_density_is_scipys_with_scikit_learns_covariance():
    features, points = torch.randn(20, 3) @ torch.randn(3, 3) + 1, torch.randn(4, 5, 3)
    fitted = LedoitWolf().fit(features.double().numpy())
    expected = multivariate_normal.logpdf(points.double().numpy(), fitted.location_, fitted.covariance_)
    np.testing.assert_allclose(Gaussian.fitted(features, CPU).log_prob(points), expected, rtol=1e-10)


def test_the_mixture_of_posteriors_has_its_moments():
    mean, scale, points = torch.randn(20, 3), torch.rand(20, 3) + 0.1, torch.randn(5, 3)
    fitted = LedoitWolf().fit(mean.double().numpy())
    covariance = fitted.covariance_ + np.diag((scale.double() ** 2).mean(0).numpy())
    expected = multivariate_normal.logpdf(points.double().numpy(), fitted.location_, covariance)
    np.testing.assert_allclose(Gaussian.of_posteriors(mean, scale, CPU).log_prob(points), expected, rtol=1e-10)


def test_features_that_never_vary_do_not_count():
    along = torch.randn(20, 1) @ torch.tensor([[1.0, 2.0, 0.0]])
    for features in (along, torch.ones(5, 3)):
        assert Gaussian.fitted(features, CPU).log_prob(torch.randn(7, 3)).isfinite().all()
    same = Gaussian.fitted(torch.ones(5, 3), CPU)
    assert same.log_prob(torch.randn(7, 3)).unique().tolist() == [0.0]


@pytest.mark.parametrize("variances", [[3.0, 2.0, 0.5], [3.0, 0.0, 0.0], [1e16, 1.0, 0.1], [1e12, 1.0, 0.1]])
def test_the_inverse_is_scipys_pseudo_inverse(variances):
    """With all directions, one, or those above the rounding of the largest variance."""
    directions = ortho_group.rvs(3, random_state=0)
    covariance = directions * variances @ directions.T
    precision, log_determinant, rank = inverse(covariance)
    kept = np.array([one for one in variances if one > 1e-15 * max(variances)])
    assert rank == len(kept)
    np.testing.assert_allclose(log_determinant, np.log(kept).sum(), rtol=1e-3)  # condition · ε for 10¹²
    np.testing.assert_allclose(precision, pinvh(covariance), rtol=1e-3, atol=1e-3 / kept.min())
