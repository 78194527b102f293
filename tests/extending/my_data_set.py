"""A data set.

A data set is a `data.Dataset`, or a function that returns one. Its parameters are those
options of `data.load` that it can do something with; others that are given on the
command line are refused. Sets in TFDS need only a `Recipe`.

COMMAND
  python -m experiments.mnist_lenet5 --preset demo --data.name my_data_set:stripes
"""

import numpy as np

from dst_jax.data import CorruptLog, Dataset, Split
from dst_jax.data.records import DecodedRecords


def stripes(*, image_size=8, holdout=0.2):
    """Horizontal and vertical stripes, in noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(160, dtype=np.int32) % 2
    images = rng.integers(0, 100, (160, image_size, image_size, 1), dtype=np.uint8)
    images[labels == 0, ::2] += 100
    images[labels == 1, :, ::2] += 100
    log = CorruptLog(0)
    records = DecodedRecords(images, labels, (), {})
    parts = np.split(np.arange(160), [96 - round(96 * holdout), 96])

    def split(name, positions):
        return Split(f"stripes {name}", records, positions, log)

    return Dataset(
        name="stripes",
        num_classes=2,
        image_shape=(image_size, image_size, 1),
        mean=(0.4,),
        std=(0.2,),
        train=split("train", parts[0]),
        holdout=split("holdout", parts[1]),
        test=split("test", parts[2]),
    )
