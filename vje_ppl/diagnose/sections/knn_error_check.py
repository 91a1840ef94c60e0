"""Do the errors of k-NN occur at images with large posterior scale?"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64

from vje_ppl.data.image_set import ImageSet
from vje_ppl.data.selection import at_most
from vje_ppl.diagnose.report.section import Level, Part, Picture, Verdict
from vje_ppl.diagnose.run import DiagnosedRun
from vje_ppl.diagnose.sections import uncertainty_pictures as draw
from vje_ppl.measures.knn import knn_ranks
from vje_ppl.measures.risk_coverage import RiskCoverage, random_risks, risk_coverage

NAME = "Posterior scale and k-NN errors"
#: Number of random orders to compare the area under the risk-coverage curve with, and the share that it has to beat.
ORDERS, BEATS = 1000, 0.95


def knn_errors(diagnosed: DiagnosedRun, images: ImageSet) -> tuple[np.ndarray | None, int]:
    """Return whether weighted k-NN on embeddings gets each image wrong, and k; None without labels."""
    bank, classes = diagnosed.data.bank, diagnosed.data.num_classes
    if bank is None or bank.labels is None or images.labels is None or classes is None or diagnosed.data.test is None:
        return None, 0
    evaluated, options = diagnosed.evaluated, diagnosed.options.uncertainty.knn
    bank = at_most(bank, diagnosed.options.images.bank)
    ours, theirs = (evaluated.features(evaluated.embedder, one) for one in (bank, images))
    k, ranks = knn_ranks(
        ours.by_name["z"],
        bank.labels[ours.images],  # type: ignore[index]
        theirs.by_name["z"],
        images.labels[theirs.images],
        k=options.k,
        temperature=options.temperature,
        num_classes=classes,
    )
    return (ranks != 0).numpy(), k


def knn_error_check(scale: Float64[np.ndarray, " N"], wrong: Bool[np.ndarray, " N"] | None, k: int, seed: int) -> Part:
    """Return risk against coverage with posterior scale as the uncertainty.

    Args:
        scale: mean log σ of each image.
        wrong: whether k-NN gets it wrong; None without labels.
        k: neighbours that voted.
        seed: seed of the random orders.
    """
    if wrong is None:
        said = "Not compared: that needs held-out images and training images with labels."
        return Part([Verdict(NAME, Level.INFORMATION, said)])
    if wrong.all() or not wrong.any():
        said = f"Not compared: k-NN gets {'none' if wrong.all() else 'all'} of {len(wrong)} images right."
        return Part([Verdict(NAME, Level.INFORMATION, said)])
    curve = risk_coverage(scale, wrong)
    orders = random_risks(wrong, ORDERS, np.random.default_rng(seed))
    beaten = float((orders.mean(1) > curve.area + 1e-12).mean())  # areas that differ by rounding are equal
    verdict = error_verdict(curve, beaten)
    picture = Picture(
        "risk_coverage",
        draw.risk_coverage_figure(curve, orders, k),
        "The curve stays below the band of random orders: answering only where the scale is small avoids errors.",
        f"Among the most certain half of the images k-NN errs in {100 * curve.risk[(len(wrong) - 1) // 2]:.1f} %, "
        f"among all of them in {100 * curve.random:.1f} %; {100 * curve.gain:.0f} % of what an oracle would gain.",
        "Share of k-NN errors among the images answered, the most certain first, beside random orders and an oracle.",
    )
    row = {
        "neighbours": k,
        "images": len(wrong),
        "errors": int(wrong.sum()),
        "AURC": curve.area,
        "AURC, oracle": curve.oracle,
        "AURC, random": curve.random,
        "gain": curve.gain,
        "random orders beaten": beaten,
    }
    return Part([verdict], [picture], [row])


def error_verdict(curve: RiskCoverage, beaten: float) -> Verdict:
    """Judge whether errors occur at images of large scale.

    Args:
        curve: the risk-coverage curve with scale as uncertainty.
        beaten: share of random orders with a larger area.
    """
    count = len(curve.risk)
    errors = round(curve.random * count)
    found = beaten >= BEATS
    return Verdict(
        NAME,
        Level.GOOD if found else Level.CAUTION,
        f"Errors {'lie' if found else 'do not lie'} among the images of large scale: AURC {curve.area:.4f}, between "
        f"{curve.oracle:.4f} of an oracle and {curve.random:.4f} at random, {100 * curve.gain:.0f} % of the possible "
        f"gain; {errors} errors in {count} images; better than {100 * beaten:.0f} % of random orders.",
        f"caution where the AURC is better than that of fewer than {100 * BEATS:.0f} % of random orders",
    )
