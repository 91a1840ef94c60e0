"""Is uncertainty informative? Posterior scale against corruption, against errors, and on other data."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from vje_ppl.data.feature_views import FeatureViews
from vje_ppl.data.image_set import ImageSet
from vje_ppl.data.selection import at_most
from vje_ppl.diagnose.report.section import Level, Part, Picture, Section, Verdict, joined
from vje_ppl.diagnose.run import DiagnosedRun, held_out_images
from vje_ppl.diagnose.sections import uncertainty_pictures as draw
from vje_ppl.diagnose.sections.corruption_check import corruption_check
from vje_ppl.diagnose.sections.knn_error_check import knn_error_check, knn_errors
from vje_ppl.diagnose.sections.other_data_check import other_data_check
from vje_ppl.diagnose.statistics.posterior_scale import pixels_of, scale_of_images
from vje_ppl.settings.checks import as_list

NOTES: tuple[str, ...] = (
    "An image's posterior scale is the geometric mean over features of σ, the standard deviations of its posterior; "
    "its logarithm is compared. It is computed on the image without augmentation.",
    "Corruptions act on pixels between 0 and 1 at the size that the network sees; noise and the place of an occlusion "
    "depend only on the seed and the image, so they are the same at every severity.",
    "Risk at a coverage is the share of k-NN errors among that share of images, the most certain first. AURC is its "
    "mean over all coverages. Oracle: all errors last. Random: the error rate. Gain: (random − AURC) / (random − "
    "oracle).",
)

OF_FEATURES = (
    "The data are feature vectors: there are no corruptions and no pictures of images, and other data only if ood.data "
    "names files of vectors."
)

SAMPLE_PHOTOS = "sample_photos"


def uncertainty_section(diagnosed: DiagnosedRun) -> Section:
    """Compare the guide's posterior scale with what should increase it.

    Raises:
        UserError: for an unknown corruption or data set.
    """
    images = at_most(held_out_images(diagnosed.data), diagnosed.options.uncertainty.images)
    scale = scale_of_images(diagnosed.infer, diagnosed.evaluated.prepared(images)).numpy()
    title = "Does uncertainty mean anything?"
    if not np.isfinite(scale).all():
        return Section("uncertainty", title, [unusable_verdict(scale)], notes=NOTES)
    wrong, k = knn_errors(diagnosed, images)
    parts, notes = [knn_error_check(scale, wrong, k, diagnosed.seed)], NOTES
    if isinstance(images, FeatureViews):
        notes = (*NOTES, OF_FEATURES)
        if as_list(diagnosed.options.ood.data) != [SAMPLE_PHOTOS]:  # the default, which has no vectors
            parts.append(other_data_check(diagnosed, scale))
    else:
        gallery = Part(pictures=[_gallery(diagnosed, images, scale, wrong)])
        parts = [corruption_check(diagnosed, images), *parts, other_data_check(diagnosed, scale), gallery]
    whole = joined(parts)
    return Section("uncertainty", title, whole.verdicts, whole.pictures, whole.rows, notes)


def unusable_verdict(scale: Float64[np.ndarray, " N"]) -> Verdict:
    """Return the verdict on scales that cannot be compared.

    Args:
        scale: mean log σ of each image, at least one of which is not finite.
    """
    lost = int((~np.isfinite(scale)).sum())
    said = f"The scale of {lost} of {len(scale)} images is not a finite positive number, so nothing is compared."
    return Verdict("Posterior scale", Level.BAD, said, "bad where any scale is no finite positive number")


def _gallery(
    diagnosed: DiagnosedRun, images: ImageSet, scale: Float64[np.ndarray, " N"], wrong: Bool[np.ndarray, " N"] | None
) -> Picture:
    order = np.argsort(scale, kind="stable")
    each = min(draw.GALLERY, max(1, len(order) // 2))
    chosen = np.concatenate([order[:each], order[len(order) - each :]])
    evaluated = diagnosed.evaluated
    found: dict[int, Tensor] = {}
    place = 0
    for _, prepared in evaluated.prepared(images):
        for one in chosen[(chosen >= place) & (chosen < place + len(prepared))].tolist():
            found[one] = pixels_of(prepared[one - place : one - place + 1], evaluated.augment.evaluation.normalize)
        place += len(prepared)
    pixels = torch.cat([found[one] for one in chosen.tolist()]).cpu().numpy()
    shown = f"The scale goes from {np.exp(scale[order[0]]):.3g} to {np.exp(scale[order[-1]]):.3g}"
    if wrong is not None:
        counts = [int(wrong[part].sum()) for part in (order[:each], order[len(order) - each :])]
        shown += (
            f"; k-NN is wrong on {counts[0]} of the {each} most certain and {counts[1]} of the {each} least certain"
        )
    return Picture(
        "most_and_least_certain",
        draw.gallery_figure(pixels, scale, wrong, order),
        "A person, too, would find the lower row harder than the upper one.",
        f"{shown}.",
        f"The {each} images with the smallest posterior scale, and the {each} with the largest.",
    )
