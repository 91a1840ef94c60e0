"""Every score of a set of images: of the trained program and, beside it, distances of raw pixels and untrained ones."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Int64
from omegaconf import DictConfig
from torch import Tensor

from vje_ppl.data.image_set import ImageSet
from vje_ppl.data.selection import at_most
from vje_ppl.features.opened_run import EvaluatedRun
from vje_ppl.measures.anomaly.kinds import Score
from vje_ppl.measures.anomaly.scorer import AnomalyScorer, distance_scores
from vje_ppl.measures.anomaly.view_pairs import ScoreOptions

Scored = tuple[Int64[Tensor, " N"], list[Score]]


def score_options(options: DictConfig) -> ScoreOptions:
    """The options as `configs/evaluate.yaml` has them; checks them."""
    scores = options.scores
    made = ScoreOptions(
        samples=scores.samples,
        pairs=scores.pairs,
        views=tuple(scores.views),
        aggregate_images=scores.aggregate.images,
        aggregate_samples=scores.aggregate.samples,
        neighbours=scores.neighbours,
        seed=options.seed,
        batch_size=options.batch_size,
    )
    made.kinds  # noqa: B018 (an unknown kind of views is an error)
    return made


def scorer(evaluated: EvaluatedRun) -> Callable[[ImageSet], Scored]:
    """Learns what the scores compare with from the run's training images; returns what scores a set of images.

    Where several processes share the work, all of them call it, and only the first one gets scores.
    """
    options = score_options(evaluated.options)
    training = at_most(evaluated.data.train, evaluated.options.scores.bank)
    subjects = {"trained": evaluated.subject, "untrained": evaluated.untrained}
    banks = {name: evaluated.features(subject, training).by_name for name, subject in subjects.items()}
    pixels = evaluated.pixels(training).by_name["pixels"]
    shards = evaluated.shards
    bank = shards.everywhere(banks["trained"])
    of_program = AnomalyScorer(evaluated.subject, evaluated.augment, bank, options, evaluated.device, shards)

    def score(images: ImageSet) -> Scored:
        index, scores = of_program(images)
        plain = {"untrained": evaluated.features(evaluated.untrained, images).by_name["z"]}
        plain["none"] = evaluated.pixels(images).by_name["pixels"]
        if not shards.is_first:
            return index, []
        compared = {"untrained": ("z", banks["untrained"]["z"]), "none": ("pixels", pixels)}
        for encoder, (features, bank) in compared.items():
            scores += distance_scores(bank, plain[encoder], features, encoder, options.neighbours, evaluated.device)
        return index, scores

    return score
