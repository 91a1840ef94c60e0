"""Pairs of views of which one explains the other: view 0 is the image without augmentation, 1, 2, … are random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vje_ppl.errors import UserError

CLEAN, AUGMENTED, ALL = "clean", "augmented", "all"
CLEAN_CLEAN, CLEAN_AUGMENTED, AUGMENTED_AUGMENTED = "clean-clean", "clean-augmented", "augmented-augmented"
KINDS = (AUGMENTED_AUGMENTED, CLEAN_AUGMENTED, CLEAN_CLEAN)


@dataclass(frozen=True)
class ViewPairs:
    """Ordered pairs a→b of views of one image.

    Attributes:
        kind: `clean-clean`, `clean-augmented` or `augmented-augmented`.
        ordered: the ordered pairs; both orders of each pair, except for clean–clean.
        pairs: number of unordered pairs.
        augmentations: number of random views among them.
    """

    kind: str
    ordered: tuple[tuple[int, int], ...]
    pairs: int
    augmentations: int


def view_pairs(kinds: Sequence[str], pairs: int) -> list[ViewPairs]:
    """Return the pairs of each kind, in the order of `KINDS`.

    clean–clean is the same view twice; clean–augmented has `pairs` random views; augmented–augmented has 2 `pairs` of
    them, each in one pair.

    Raises:
        UserError: for an unknown kind, or fewer than one pair.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise UserError(f"scores.views expects some of {', '.join(KINDS)}, got {', '.join(unknown) or 'none'}.")
    if pairs < 1:
        raise UserError(f"scores.pairs expects at least 1, got {pairs}.")
    of_kind = {
        CLEAN_CLEAN: ViewPairs(CLEAN_CLEAN, ((0, 0),), 1, 0),
        CLEAN_AUGMENTED: _both_orders(CLEAN_AUGMENTED, [(0, view) for view in range(1, pairs + 1)], pairs),
        AUGMENTED_AUGMENTED: _both_orders(
            AUGMENTED_AUGMENTED, [(view, view + 1) for view in range(1, 2 * pairs, 2)], 2 * pairs
        ),
    }
    return [of_kind[kind] for kind in KINDS if kind in kinds]


def single_views(count: int) -> dict[str, list[int]]:
    """Return the numbers of the views without and with augmentation, if any."""
    return {CLEAN: [0], AUGMENTED: list(range(1, count))} if count > 1 else {CLEAN: [0]}


def _both_orders(kind: str, pairs: list[tuple[int, int]], augmentations: int) -> ViewPairs:
    ordered = tuple(order for a, b in pairs for order in ((a, b), (b, a)))
    return ViewPairs(kind, ordered, len(pairs), augmentations)


@dataclass(frozen=True)
class ScoreOptions:
    """Numbers of views, draws and neighbours; the headline's by default.

    Attributes:
        samples: posterior draws S of an image.
        pairs: unordered pairs of views, of each kind with random views.
        views: the kinds of pairs to report.
        aggregate_images: training images M of `aggregate`, at most.
        aggregate_samples: posterior draws S' of each of them.
        evidence_samples: posterior draws of each view for `evidence`.
        rank_draws: draws of an image's views for `surprise_rank`, for each kind of pairs, at least.
        regret_steps: steps of the search for an image's own posterior, for `regret`; 0: not reported.
        neighbours: k of k-NN distances.
        only: names of the scores to report, beside `complexity`; None: all.
        seed: of random views and posterior draws.
        batch_size: images to embed at once, about.
    """

    samples: int = 16
    pairs: int = 8
    views: tuple[str, ...] = KINDS
    aggregate_images: int = 2000
    aggregate_samples: int = 1
    evidence_samples: int = 4
    rank_draws: int = 64
    regret_steps: int = 50
    neighbours: int = 5
    only: tuple[str, ...] | None = None
    seed: int = 0
    batch_size: int = 256

    @property
    def kinds(self) -> list[ViewPairs]:
        """The pairs of views to report."""
        return view_pairs(self.views, self.pairs)

    @property
    def augmentations(self) -> int:
        """Random views of an image."""
        return max(kind.augmentations for kind in self.kinds)

    def wants(self, name: str) -> bool:
        """Whether to report a score, by its name without the part after a slash."""
        return self.only is None or name in self.only
