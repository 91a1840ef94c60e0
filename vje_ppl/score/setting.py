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
    EVIDENCE,
    JOINT,
    KL,
    OF_PROGRAM,
    PREDICTIVE,
    REGRET,
    SURPRISE,
    SURPRISE_RANK,
    TYPICALITY,
    UNCERTAINTY,
)
from vje_ppl.measures.anomaly.view_pairs import (
    ALL,
    AUGMENTED,
    AUGMENTED_AUGMENTED,
    CLEAN,
    CLEAN_AUGMENTED,
    CLEAN_CLEAN,
    KINDS,
    ScoreOptions,
)

#: The score of `score=null`: the best on most of this project's own results.
DEFAULT_SCORE = MAHALANOBIS

#: Scores of a density without a program.
OF_DENSITY = (SURPRISE, UNCERTAINTY)
NAMES = (*OF_PROGRAM, *OF_DENSITY, *DISTANCES)

#: Scores of a program that compare with the training images, or have parts of which each is a score.
WITH_TRAINING, WITH_PARTS = (AGGREGATE, JOINT, EVIDENCE, TYPICALITY), (CONDITIONAL, TYPICALITY)

#: Allowed views of each score, the default first; scores that are not listed allow `_SINGLES`.
_VIEWS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys((CONDITIONAL, PREDICTIVE, SURPRISE_RANK, SURPRISE), KINDS),
    JOINT: (CLEAN_CLEAN, CLEAN_AUGMENTED, AUGMENTED_AUGMENTED),  # the first was chosen in `table=scores`
    **dict.fromkeys((AGGREGATE, TYPICALITY, REGRET), (CLEAN,)),
    EVIDENCE: (ALL,),
}
_SINGLES = (CLEAN, AUGMENTED)

#: Scores that draw from the posterior of an image.
_DRAWN = (CONDITIONAL, PREDICTIVE, JOINT, SURPRISE_RANK, KL, EVIDENCE, TYPICALITY, REGRET)


@dataclass(frozen=True)
class ScoreSetting:
    """A score, with everything that determines its values; None for what has no effect on it.

    Attributes:
        name: of the score; `conditional/<site>` for one observed site, `typicality/<statistic>` for one statistic.
        views: the kind of pairs of views, `clean` or `augmented` for single views, or `all` of them together.
        features: `z` or `mu`, for distances.
        samples: posterior draws S of an image.
        pairs: unordered pairs of views, of each kind with random views.
        neighbours: k of `knn_distance`.
        bank: largest number of training images to compare with.
        aggregate_images: largest number of training images that `aggregate` mixes.
        aggregate_samples: posterior draws of each of them.
        evidence_samples: posterior draws of each view, for `evidence`.
        rank_draws: draws of an image's views, for `surprise_rank`.
        regret_steps: steps of the search for an image's own posterior, for `regret`.
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
    evidence_samples: int | None = None
    rank_draws: int | None = None
    regret_steps: int | None = None
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
        return {CLEAN_AUGMENTED: 1, AUGMENTED_AUGMENTED: 2, AUGMENTED: 2, ALL: 2}.get(self.views, 0) * (self.pairs or 0)

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that determines the values."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    def options(self) -> ScoreOptions:
        """Return the options of the scores among which this score is."""
        pairs = self.views if self.views in KINDS else CLEAN_CLEAN if self.views == CLEAN else AUGMENTED_AUGMENTED
        return ScoreOptions(
            samples=self.samples or 1,
            pairs=self.pairs or 1,
            views=(pairs,),
            aggregate_images=self.aggregate_images or 1,
            aggregate_samples=self.aggregate_samples or 1,
            evidence_samples=self.evidence_samples or 1,
            rank_draws=self.rank_draws or 1,
            regret_steps=self.regret_steps or 0,
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
    if kind not in NAMES or (slash and (kind not in WITH_PARTS or not site)):
        hint = did_you_mean(name, NAMES) or f"give one of them, {CONDITIONAL}/<site> or {TYPICALITY}/<statistic>."
        raise UserError(f"score expects one of {', '.join(NAMES)}, got {name}; {hint}")
    possible = _VIEWS.get(kind, _SINGLES)
    views = possible[0] if config.views is None else str(config.views)
    if views not in possible:
        raise UserError(
            f"views of score={name} expects {' or '.join(possible)}, got {views}; give views={possible[0]}."
        )
    if config.features not in ("z", "mu"):
        raise UserError(f"features expects z or mu, got {config.features}; give features=z.")
    options, aggregate = config.scores, config.scores.aggregate
    is_random = views not in (CLEAN, CLEAN_CLEAN)
    draws = kind in _DRAWN
    return ScoreSetting(
        name,
        views,
        features=config.features if kind in DISTANCES else None,
        samples=options.samples if draws else None,
        pairs=options.pairs if is_random else None,
        neighbours=options.neighbours if kind == KNN_DISTANCE else None,
        bank=options.bank if kind in DISTANCES or kind in WITH_TRAINING else None,
        aggregate_images=aggregate.images if kind == AGGREGATE else None,
        aggregate_samples=aggregate.samples if kind == AGGREGATE else None,
        evidence_samples=options.evidence.samples if kind == EVIDENCE else None,
        rank_draws=options.rank_draws if kind == SURPRISE_RANK else None,
        regret_steps=options.regret.steps if kind == REGRET else None,
        seed=config.seed if is_random or draws or kind == AGGREGATE else None,
    )
