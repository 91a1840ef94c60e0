"""A score, with everything that determines its values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vje_ppl.errors import UserError, did_you_mean
from vje_ppl.measures.anomaly.distances import DISTANCES, KNN_DISTANCE, MAHALANOBIS
from vje_ppl.measures.anomaly.kinds import (
    AGGREGATE,
    CONDITIONAL,
    KL,
    LOG_PRECISION,
    PREDICTIVE,
    SURPRISE,
    UNCERTAINTY,
)
from vje_ppl.measures.anomaly.view_pairs import (
    AUGMENTED,
    AUGMENTED_AUGMENTED,
    CLEAN,
    CLEAN_AUGMENTED,
    CLEAN_CLEAN,
    KINDS,
    ScoreOptions,
)

#: The score of `score=null`: the best on most of this project's own figures.
DEFAULT_SCORE = MAHALANOBIS

#: Scores of pairs of views, and of single views, of a program and of a density without one.
PAIRS, SINGLES = (CONDITIONAL, PREDICTIVE, SURPRISE), (KL, LOG_PRECISION, UNCERTAINTY)
OF_PROGRAM, OF_DENSITY = (CONDITIONAL, PREDICTIVE, AGGREGATE, KL, LOG_PRECISION), (SURPRISE, UNCERTAINTY)
NAMES = (*OF_PROGRAM, *OF_DENSITY, *DISTANCES)


@dataclass(frozen=True)
class ScoreSetting:
    """A score, with everything that determines its values; None for what has no effect on it.

    Attributes:
        name: of the score; `conditional/<site>` for one observed site.
        views: the kind of pairs of views, or `clean` or `augmented` for single views.
        features: `z` or `mu`, for distances.
        samples: posterior draws S of an image.
        pairs: unordered pairs of views, of each kind with random views.
        neighbours: k of `knn_distance`.
        bank: largest number of training images to compare with.
        aggregate_images: largest number of training images that `aggregate` mixes.
        aggregate_samples: posterior draws of each of them.
        seed: of random views and posterior draws.
    """

    name: str
    views: str
    features: str | None = None
    samples: int | None = None
    pairs: int | None = None
    neighbours: int | None = None
    bank: int | None = None
    aggregate_images: int | None = None
    aggregate_samples: int | None = None
    seed: int | None = None

    @property
    def kind(self) -> str:
        """The name without a site."""
        return self.name.partition("/")[0]

    @property
    def is_distance(self) -> bool:
        """Whether it is a distance between features."""
        return self.kind in DISTANCES

    @property
    def augmentations(self) -> int:
        """Random views of an image that it needs."""
        return {CLEAN_AUGMENTED: 1, AUGMENTED_AUGMENTED: 2, AUGMENTED: 2}.get(self.views, 0) * (self.pairs or 0)

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that determines the values."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    def options(self) -> ScoreOptions:
        """Return the options of the scores among which this score is."""
        pairs = {CLEAN: CLEAN_CLEAN, AUGMENTED: AUGMENTED_AUGMENTED}.get(self.views, self.views)
        return ScoreOptions(
            samples=self.samples or 1,
            pairs=self.pairs or 1,
            views=(pairs,),
            aggregate_images=self.aggregate_images or 1,
            aggregate_samples=self.aggregate_samples or 1,
            neighbours=self.neighbours or 1,
            seed=self.seed or 0,
            only=(self.kind,),
        )


def default_setting() -> ScoreSetting:
    """Return the default score with the options in `configs/score.yaml`."""
    config = OmegaConf.create((files("vje_ppl.configs") / "score.yaml").read_text(encoding="utf-8"))
    assert isinstance(config, DictConfig)
    return score_setting(config)


def score_setting(config: DictConfig) -> ScoreSetting:
    """Return the setting in `configs/score.yaml`.

    Raises:
        UserError: for an unknown score, or views or features that it cannot have.
    """
    name = DEFAULT_SCORE if config.score is None else str(config.score)
    kind, slash, site = name.partition("/")
    if kind not in NAMES or (slash and (kind != CONDITIONAL or not site)):
        hint = did_you_mean(name, NAMES) or f"give one of them, or {CONDITIONAL}/<site>."
        raise UserError(f"score expects one of {', '.join(NAMES)}, got {name}; {hint}")
    possible = KINDS if kind in PAIRS else (CLEAN,) if kind == AGGREGATE else (CLEAN, AUGMENTED)
    views = possible[0] if config.views is None else str(config.views)
    if views not in possible:
        raise UserError(f"views of score={name} expects {' or '.join(possible)}, got {views}.")
    if config.features not in ("z", "mu"):
        raise UserError(f"features expects z or mu, got {config.features}.")
    options, aggregate = config.scores, config.scores.aggregate
    is_random = views not in (CLEAN, CLEAN_CLEAN)
    draws = kind in (CONDITIONAL, PREDICTIVE)
    return ScoreSetting(
        name,
        views,
        features=config.features if kind in DISTANCES else None,
        samples=options.samples if draws else None,
        pairs=options.pairs if is_random else None,
        neighbours=options.neighbours if kind == KNN_DISTANCE else None,
        bank=options.bank if kind in DISTANCES or kind == AGGREGATE else None,
        aggregate_images=aggregate.images if kind == AGGREGATE else None,
        aggregate_samples=aggregate.samples if kind == AGGREGATE else None,
        seed=config.seed if is_random or draws or kind == AGGREGATE else None,
    )
