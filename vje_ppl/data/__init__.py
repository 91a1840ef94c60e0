"""Data sets, and batches of augmented views."""

from vje_ppl.data.augment import Augment, ViewKey
from vje_ppl.data.batches import TrainingBatch, TrainingBatches, evaluation_batches
from vje_ppl.data.image_set import ImageData, ImageSet, InMemoryImages, StreamedImages
from vje_ppl.data.preprocess import Preprocess

__all__ = [
    "Augment",
    "ImageData",
    "ImageSet",
    "InMemoryImages",
    "Preprocess",
    "StreamedImages",
    "TrainingBatch",
    "TrainingBatches",
    "ViewKey",
    "evaluation_batches",
]
