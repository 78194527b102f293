"""Data sets, augmentation and batches, with TFDS sources and Grain.

    dataset = data.load("cifar100")
    batches = data.train_iterator(dataset.train, batch_size=128, seed=0)
    batch = next(batches)                      # uint8 images, int32 labels
    image = data.normalise(batch["image"], dataset.mean, dataset.std)

`data.load("folder:PATH")` opens your own images, `data.from_sources` your own records.
`python -m dst_jax.data prepare NAME` downloads and prepares a data set.
"""

from dst_jax.data import augments
from dst_jax.data.corrupt import CorruptLog, CorruptRecord
from dst_jax.data.datasets import Dataset, Split
from dst_jax.data.evaluation import EvalBatch, eval_batches
from dst_jax.data.fingerprint import fingerprint
from dst_jax.data.label_maps import LabelMaps
from dst_jax.data.loader import steps_per_epoch, train_iterator
from dst_jax.data.loading import load
from dst_jax.data.own_sets import from_sources
from dst_jax.data.recipes import names
from dst_jax.data.records import Example
from dst_jax.data.source import Source
from dst_jax.data.transforms import normalise

__all__ = [
    "CorruptLog",
    "CorruptRecord",
    "Dataset",
    "EvalBatch",
    "Example",
    "LabelMaps",
    "Source",
    "Split",
    "augments",
    "eval_batches",
    "fingerprint",
    "from_sources",
    "load",
    "names",
    "normalise",
    "steps_per_epoch",
    "train_iterator",
]
