"""Does the posterior scale grow as images get worse?"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float64

from vje_ppl.data.image_set import ImageSet
from vje_ppl.diagnose.report.section import Level, Part, Picture, Verdict, enumerated
from vje_ppl.diagnose.run import DiagnosedRun
from vje_ppl.diagnose.sections import uncertainty_pictures as draw
from vje_ppl.diagnose.statistics.corruptions import Corruption
from vje_ppl.diagnose.statistics.posterior_scale import pixels_of, scale_under_corruption, severity_correlation
from vje_ppl.settings.build import build

#: The scale grows from this mean rank correlation of scale and severity.
GROWS = 0.5


def corruption_check(diagnosed: DiagnosedRun, images: ImageSet) -> Part:
    """Measure posterior scale at rising severity of each corruption of `uncertainty.corruptions`.

    Raises:
        UserError: for an unknown corruption.
    """
    normalize = diagnosed.evaluated.augment.evaluation.normalize
    chosen: dict[str, Corruption] = {
        name: build(one, f"uncertainty.corruptions.{name}", mean=normalize.mean)
        for name, one in diagnosed.options.uncertainty.corruptions.items()
    }
    if not chosen:
        return Part()
    index, first = next(iter(diagnosed.evaluated.prepared(images)))
    place = int(first.flatten(1).std(1).argmax())  # a blank image would not show the corruption
    richest = slice(place, place + 1)
    pixels = pixels_of(first[richest], normalize)
    scales, examples = {}, {}
    for name, one in chosen.items():
        batches = diagnosed.evaluated.prepared(images)
        scales[name] = scale_under_corruption(diagnosed.infer, batches, normalize, one, diagnosed.seed).numpy()
        worse = [one(pixels, severity, diagnosed.seed, index[richest]) for severity in one.severities]
        examples[name] = torch.cat([pixels, *worse]).cpu().numpy()
    correlations = {name: float(severity_correlation(values).mean()) for name, values in scales.items()}
    said = enumerated(f"{value:.2f} for {name}" for name, value in correlations.items())
    verdicts = [trend_verdict(name, values) for name, values in scales.items()]
    severities = {name: one.severities for name, one in chosen.items()}
    figure = draw.corruption_figure(
        scales, severities, {name: one.unit for name, one in chosen.items()}, examples, correlations
    )
    growing = [name for name, value in correlations.items() if value >= GROWS]
    picture = Picture(
        "scale_under_corruption",
        figure,
        "The scale rises from left to right: the less an image shows, the less the guide claims to know.",
        f"Rank correlations with severity are {said}; the scale "
        f"{'grows with ' + enumerated(growing) if growing else 'grows with none of them'}.",
        f"Posterior scale at rising severity of {enumerated(scales)}: median and bands, with an example image.",
    )
    rows = [
        {
            "corruption": name,
            "severity": severity,
            "geometric mean scale": float(np.exp(values[level].mean())),
            "images with a larger scale than without": float((values[level] > values[0]).mean()) if level else None,
            "rank correlation": correlations[name],
        }
        for name, values in scales.items()
        for level, severity in enumerate((0.0, *severities[name]))
    ]
    return Part(verdicts, [picture], rows)


def trend_verdict(name: str, values: Float64[np.ndarray, "levels N"]) -> Verdict:
    """Judge whether scale grows with the severity of a corruption.

    Args:
        name: the corruption.
        values: mean log σ at rising severity, level 0 without corruption.
    """
    threshold = f"caution where the mean rank correlation (Spearman) of scale and severity is below {GROWS}"
    lost = ~np.isfinite(values).all(0)
    if lost.any():
        said = f"The scale under {name} is not a finite positive number for {lost.sum()} of {len(lost)} images."
        return Verdict(f"Posterior scale under {name}", Level.BAD, said, f"{threshold}, bad where it is not a number")
    correlation = float(severity_correlation(values).mean())
    levels = np.exp(values.mean(1))
    grows = correlation >= GROWS
    shrinks = "shrinks" if correlation <= -GROWS else "does not grow"
    word = "grows" if grows else "hardly grows" if correlation > 0 else shrinks
    peak = int(levels.argmax())
    turn = (
        ""
        if peak == len(levels) - 1 or not correlation > 0
        else f" It is largest at level {peak} of {len(levels) - 1}."
    )
    return Verdict(
        f"Posterior scale under {name}",
        Level.GOOD if grows else Level.CAUTION,
        f"The scale {word} with {name}: {levels[0]:.3g} without, {levels[-1]:.3g} at the worst, rank correlation with "
        f"severity {correlation:.2f} on average over {values.shape[1]} images.{turn}",
        threshold,
    )
