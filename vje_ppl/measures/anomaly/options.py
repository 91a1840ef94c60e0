"""How anomaly scores are computed."""

from __future__ import annotations

from dataclasses import dataclass

from vje_ppl.measures.anomaly.view_pairs import KINDS, ViewPairs, view_pairs


@dataclass(frozen=True)
class ScoreOptions:
    """Numbers of views, draws and neighbours; the headline's by default.

    Attributes:
        samples: posterior draws S of an image.
        pairs: unordered pairs of views, of each kind with random views.
        views: the kinds of pairs to report.
        aggregate_images: training images M of `aggregate`, at most.
        aggregate_samples: posterior draws S' of each of them.
        neighbours: k of k-NN distances.
        seed: of random views and posterior draws.
        batch_size: images to embed at once, about.
    """

    samples: int = 16
    pairs: int = 8
    views: tuple[str, ...] = KINDS
    aggregate_images: int = 2000
    aggregate_samples: int = 1
    neighbours: int = 5
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
