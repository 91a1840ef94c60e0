"""Is the posterior scale larger on images of other data sets?"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from jaxtyping import Float64

from vje_ppl.data.selection import at_most
from vje_ppl.diagnose.report.section import Level, Part, Picture, Verdict, enumerated
from vje_ppl.diagnose.run import DiagnosedRun
from vje_ppl.diagnose.sections import uncertainty_pictures as draw
from vje_ppl.diagnose.statistics.posterior_scale import scale_of_images
from vje_ppl.features.other_data import open_other
from vje_ppl.measures.detection import detection
from vje_ppl.settings.checks import as_list

#: The scale is larger on other data from this AUROC.
TELLS_APART = 0.75


def other_data_check(diagnosed: DiagnosedRun, scale: Float64[np.ndarray, " N"]) -> Part:
    """Compare posterior scale with that on the data sets of `ood.data`, without the run's own.

    Args:
        diagnosed: the run.
        scale: mean log σ of its held-out images.

    Raises:
        UserError: for an unknown or missing data set.
    """
    evaluated, own = diagnosed.evaluated, diagnosed.data.name
    wanted = [one for one in as_list(diagnosed.options.ood.data) if one != own]
    outside, rows = {}, []
    known: dict[str, str] = {}
    for one in wanted:
        name, images, how = open_other(one, evaluated, known)
        images = at_most(images, diagnosed.options.uncertainty.images)
        outside[name] = scale_of_images(diagnosed.infer, evaluated.prepared(images)).numpy()
        metrics = asdict(detection(scale, outside[name]))
        rows.append(
            {
                "in": own,
                "out": name,
                "converted": how,
                **metrics,
                "geometric mean scale, in": float(np.exp(scale.mean())),
                "geometric mean scale, out": float(np.exp(outside[name].mean())),
            }
        )
    if not outside:
        return Part()
    aurocs = {row["out"]: row["auroc"] for row in rows}
    said = enumerated(f"{value:.3f} for {name}" for name, value in aurocs.items())
    picture = Picture(
        "scale_on_other_data",
        draw.scale_figure(scale, outside, own, aurocs),
        "The colour lies to the right of the grey: images unlike the training images have larger scales.",
        f"By scale alone, the AUROC is {said}; 0.5 is chance.",
        f"Histograms of posterior scale on {own} and on {enumerated(outside)}.",
    )
    return Part([other_data_verdict(name, own, value) for name, value in aurocs.items()], [picture], rows)


def other_data_verdict(name: str, own: str, auroc: float) -> Verdict:
    """Judge whether scale is larger on another data set.

    Args:
        name: the other data set.
        own: the run's data set.
        auroc: AUROC of larger scale as a sign of the other data set.
    """
    larger = auroc >= TELLS_APART
    word = "is larger" if larger else "is hardly larger" if auroc > 0.5 else "is not larger"
    return Verdict(
        f"Posterior scale on {name}",
        Level.GOOD if larger else Level.CAUTION,
        f"The scale {word} on {name} than on {own}: an image of the former has the larger one in "
        f"{100 * auroc:.0f} % of pairs.",
        f"caution where the AUROC of scale is below {TELLS_APART}; 0.5 is chance",
    )
