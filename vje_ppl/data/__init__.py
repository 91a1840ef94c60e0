"""Data sets, and batches of augmented views.

Read in this order:

    image_set.py      `ImageData`, images in memory, and images in files
    loaders/          one loader for each kind of data set
    batches.py        training batches of views, and evaluation batches
    readers.py        the raw images of a batch, from memory or from files
    augment.py        random views; transforms/ has the transforms that they consist of
    preprocess.py     the deterministic preparation of images for evaluation
    conform.py        other images in the form of a run's images
    decode.py         image files to pixels; cut_files.py and file_loader.py do this in worker processes
    selection.py      fixed choices among images: subsets and classes; hold_out.py splits the training images
    feature_views.py  feature vectors in place of images
    rotations.py      the four rotations of an image as images of their own
    fingerprint.py    recognizes a changed data set
    formats.py        the image formats that are read
    image_files.py, contrast.py, transfer.py    helpers of these
"""

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
