"""Endless shuffled batches for training, with Grain.

Threads read by default. They start at once, and any number of them gives the same
batches. The place in the data is a number of global batches, which does not depend on
processes, threads or workers.
"""

from functools import partial
from typing import Any

import grain
import numpy as np
from absl import flags

from dst_jax.data.corrupt import CorruptRecord
from dst_jax.data.datasets import Split
from dst_jax.data.options import (
    MOST_WORKERS,
    check_processes,
    check_range,
    choose_threads,
)

__all__ = ["steps_per_epoch", "train_iterator"]

_ENDLESS = 2**62
"""Examples before the end of an endless order: Grain divides the number by the batch
size in floats, and what is rounded up must still be the length of something."""


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """The number of whole batches in a split: `len(split) // batch_size`.

    >>> from dst_jax import data
    >>> steps_per_epoch(data.load("digits", holdout=0.0).train, 100)
    11
    """
    return len(split) // batch_size


def train_iterator(
    split: Split,
    *,
    batch_size: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
    threads: int | None = None,
    workers: int = 0,
    prefetch: int = 4,
    start: int = 0,
) -> grain.DatasetIterator[Any]:
    """This process's share of endless shuffled, augmented batches.

    Every epoch is a new permutation of the split. A batch may span the end of an epoch,
    so no record is dropped. The records of a global batch, their order and augmentation
    depend on `seed` alone, not on processes, threads or workers: each process has
    contiguous rows of it. A corrupt record is replaced by the next readable one of the
    split.

    Args:
      split: split to draw from.
      batch_size: size of a global batch; a multiple of `process_count`, at most
        `len(split)`.
      seed: seed of the order and the augmentation, in [0, 2**32).
      process_index: index of this process, in [0, process_count).
      process_count: number of processes that share each batch.
      threads: number of batches read at the same time, per worker; by default one per
        core, at most 16.
      workers: number of processes that read, for hosts where one interpreter is too
        slow; 0 reads in this process. With workers, the program needs
        `if __name__ == "__main__"` and must `close()` the iterator; each worker counts
        and limits corrupt records by itself.
      prefetch: number of batches kept ready, at least 1; never fewer than `threads`.
      start: number of global batches that are left out, at least 0: where a training
        goes on.

    Returns:
      An iterator over `{"image": uint8[b, h, w, c], "label": int32[b]}`, or int32[b, h,
      w] where each pixel has a label, with `b = batch_size // process_count`.

    Raises:
      ValueError: an argument is out of range. While iterating: more records are
        corrupt than the data set's `corrupt_limit`.

    >>> from dst_jax import data
    >>> split = data.load("digits").train
    >>> batch = next(train_iterator(split, batch_size=8, seed=0))
    >>> batch["image"].shape, batch["label"].dtype
    ((8, 16, 16, 1), dtype('int32'))
    """
    check_processes(batch_size, process_index, process_count)
    check_range("seed", seed, 0, 2**32 - 1)
    check_range("workers", workers, 0)
    check_range("workers", workers, 0, MOST_WORKERS)
    check_range("prefetch", prefetch, 1)
    check_range("start", start, 0)
    if batch_size > len(split):
        raise ValueError(
            f"batch_size must be at most the {len(split)} examples of {split.name}, "
            f"got {batch_size}"
        )
    threads = choose_threads(threads, workers=workers)
    # Augmented before the batch is divided, so that the random numbers of a record do
    # not depend on the number of processes.
    examples = (
        grain.MapDataset.range(len(split))
        .seed(seed)
        .shuffle()
        .repeat()
        .random_map(partial(_training_example, split))
    )
    # An endless order of examples, cut where it still has a length.
    shares = examples[:_ENDLESS].batch(batch_size // process_count)
    batches = shares[start * process_count + process_index :: process_count]
    # The buffer counts batches, and bounds how many threads can be busy.
    reading = grain.ReadOptions(threads, max(prefetch, threads))
    dataset = batches.to_iter_dataset(reading)
    if workers:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # Grain's workers refuse to start otherwise
        dataset = dataset.mp_prefetch(grain.MultiprocessingOptions(workers))
    return iter(dataset)


def _training_example(
    split: Split, position: int, rng: np.random.Generator
) -> dict[str, Any]:
    """The example at `position`, or the next readable one."""
    for offset in range(len(split)):
        try:
            example = split.example((position + offset) % len(split), rng)
        except CorruptRecord:
            continue
        return {"image": example.image, "label": np.asarray(example.label, np.int32)}
    raise ValueError(f"no record of {split.name} is readable")
