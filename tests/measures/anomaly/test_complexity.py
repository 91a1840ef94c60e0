from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr

from vje_ppl.data.preprocess import Normalize, Preprocess
from vje_ppl.measures.anomaly.complexity import KIND, complexity, complexity_correlations
from vje_ppl.measures.anomaly.kinds import Score, ScoreKind


@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_the_size_of_the_image_as_png(channels):
    pixels = torch.randint(0, 256, (4, channels, 16, 16), dtype=torch.uint8)
    pixels[0] = 7
    normalize = Normalize([0.3, 0.4, 0.5][:channels], [0.2, 0.25, 0.3][:channels], channels)
    found = complexity(Preprocess(16, 1.0, normalize)(pixels), normalize)
    for image, size in zip(pixels.numpy(), found.tolist(), strict=True):
        file = io.BytesIO()
        Image.fromarray(image[0] if channels == 1 else np.moveaxis(image, 0, 2)).save(file, "PNG")
        assert size == file.tell()
    assert found[0] < found[1:].min()


def scores(*columns):
    kinds = [ScoreKind("kl"), KIND, ScoreKind("constant")]
    return [Score(kind, np.array(column, float)) for kind, column in zip(kinds, columns, strict=True)]


def test_the_correlation_is_scipys_over_all_sets():
    one, other = scores([1, 5, 2], [10, 20, 20], [1, 1, 1]), scores([9, 0], [5, 30], [1, 1])
    expected = spearmanr([1, 5, 2, 9, 0], [10, 20, 20, 5, 30]).statistic
    found = complexity_correlations(one, other)
    assert found[0] == pytest.approx(expected)
    assert found[1] == pytest.approx(1)
    assert found[2] is None
    assert complexity_correlations(one)[0] == pytest.approx(spearmanr([1, 5, 2], [10, 20, 20]).statistic)


def test_there_is_none_without_complexity():
    assert complexity_correlations(scores([1, 2], [3, 4], [1, 2])[:1]) == [None]
