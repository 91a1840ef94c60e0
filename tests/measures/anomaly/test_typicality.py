"""`typicality` against NumPy, SciPy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf

from tests.measures.anomaly.small import OPTIONS, M, N, by_row, inferred, views
from tests.measures.anomaly.test_joint import log_marginal
from vje_ppl.errors import UserError
from vje_ppl.measures.anomaly.program_scores import ProgramScores
from vje_ppl.measures.anomaly.typicality import Typicality

CPU = torch.device("cpu")


def found_of(scorer, **columns):
    found = scorer({name: torch.tensor(values, dtype=torch.float64) for name, values in columns.items()})
    return {kind.name: values.numpy() for kind, values in found.items()}


def test_the_score_is_a_gaussians_of_standardized_statistics():
    rng = np.random.default_rng(0)
    calibration = rng.standard_normal((60, 2)) * [100, 0.01] + [5, -3]
    calibration[0] = [1e6, 7]  # one odd image, which is cut
    tested = rng.standard_normal((9, 2)) * [300, 0.03] + [5, -3]
    scorer = Typicality({name: torch.from_numpy(calibration[:, i]) for i, name in enumerate("ab")}, CPU)
    found = found_of(scorer, a=tested[:, 0], b=tested[:, 1])
    median = np.median(calibration, 0)
    scale = np.subtract(*np.quantile(calibration, [0.75, 0.25], axis=0)) / 1.3489795
    fitted = LedoitWolf().fit(np.clip((calibration - median) / scale, -4, 4))
    standardized = (tested - median) / scale
    expected = -multivariate_normal.logpdf(standardized, fitted.location_, fitted.covariance_)
    np.testing.assert_allclose(found["typicality"], expected, rtol=1e-9)
    np.testing.assert_allclose(found["typicality/a"], abs(standardized[:, 0]), rtol=1e-9)
    np.testing.assert_allclose(found["typicality/b"], abs(standardized[:, 1]), rtol=1e-9)


def test_it_is_two_sided():
    scorer = Typicality({"a": torch.linspace(-1, 1, 41, dtype=torch.float64)}, CPU)
    found = found_of(scorer, a=[-3.0, 0.0, 3.0])
    for values in found.values():
        assert values[0] == pytest.approx(values[2])
        assert values[1] < values[0]


def test_a_statistic_that_varies_by_rounding_alone_is_constant():
    calibration = 3 + 1e-7 * torch.randn(40, dtype=torch.float64)
    found = found_of(Typicality({"a": calibration, "b": torch.randn(40).double()}, CPU), a=[3 + 1e-5], b=[0.0])
    assert found["typicality/a"][0] < 1e-4


@pytest.mark.parametrize("values", [[1.0] * 4, [1.0, 1.0, 1.0, 1.0, 1.0, 2.0]], ids=["all-equal", "most-equal"])
def test_statistics_that_hardly_vary_give_numbers(values):
    found = found_of(Typicality({"a": torch.tensor(values, dtype=torch.float64)}, CPU), a=[1.0, 3.0])
    assert all(np.isfinite(one).all() for one in found.values())
    assert found["typicality/a"][0] < found["typicality/a"][1]


@pytest.mark.parametrize(("values", "said"), [([1.0], "at least 2"), ([1.0, float("nan")], "finite")])
def test_calibration_images_that_will_not_do_are_refused(values, said):
    with pytest.raises(UserError, match=said):
        Typicality({"a": torch.tensor(values, dtype=torch.float64)}, CPU)


@torch.no_grad()
def test_the_statistics_are_the_programs(program):
    """As the scores of the same names say, on the image without augmentation."""
    z, training = views(), views(1, M)[0]
    scores = ProgramScores(program, training, OPTIONS)
    posterior, images = inferred(program, z), torch.arange(N)
    before = by_row(scores(z, posterior, images))
    assert not any(name.startswith("typicality") for name, _ in before)
    calibration = views(2, 30)[:1]
    found = scores.calibration_statistics(calibration, inferred(program, calibration), torch.arange(30))
    scores.calibrate(found)
    after = scores(z, posterior, images)
    rows = by_row(after)
    assert {kind.calibration_images for kind in after if kind.name.startswith("typicality")} == {30}
    names = ["conditional/direction", "conditional/radius", "kl", "log_precision", "log_norm", "marginal"]
    assert list(found) == names
    clean = {
        **{name: before[name, "clean-clean"] for name in names[:2]},
        **{name: before[name, "clean"] for name in names[2:4]},
        "log_norm": z[0].norm(dim=1).log().numpy(),
        "marginal": -log_marginal(training, z[0]),
    }
    for name, values in clean.items():
        ours = found[name].numpy()
        scale = np.subtract(*np.quantile(ours, [0.75, 0.25])) / 1.3489795
        expected = abs(values - np.median(ours)) / scale
        np.testing.assert_allclose(rows[f"typicality/{name}", "clean"], expected, rtol=1e-8)
    for key, values in before.items():
        assert np.array_equal(values, rows[key])
