"""Batches for evaluation: every example once, in order."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, UInt8

from dst_jax.data.corrupt import CorruptRecord
from dst_jax.data.datasets import Split
from dst_jax.data.options import check_processes, choose_threads
from dst_jax.data.records import Example

__all__ = ["EvalBatch", "eval_batches"]

_AHEAD = 2
"""Batches that are read while one is in use."""


class EvalBatch(NamedTuple):
    """A batch of `b` examples.

    Attributes:
      image: images, uint8[b, h, w, c].
      label: labels, int32[b].
      sharded: Whether the processes hold different parts of a global batch; otherwise
        all of them hold the same examples.
    """

    image: UInt8[np.ndarray, "b h w c"]
    label: Int32[np.ndarray, " b"]
    sharded: bool


def eval_batches(
    split: Split,
    *,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
    threads: int | None = None,
) -> Iterator[EvalBatch]:
    """This process's share of batches that hold every example of a split once.

    Each process gets its contiguous part of a whole global batch (`sharded`). The
    remainder, `len(split) % batch_size` examples, goes to all processes as a last,
    smaller batch. Corrupt records are left out, so a batch may have fewer rows.

    Args:
      split: split to evaluate on.
      batch_size: size of a global batch; a multiple of `process_count`.
      process_index: index of this process, in [0, process_count).
      process_count: number of processes that share each batch.
      threads: number of examples decoded at the same time; by default one per core, at
        most 16.

    Raises:
      ValueError: an argument is out of range. While iterating: more records are
        corrupt than the data set's `corrupt_limit`, or all of them; or one is corrupt
        and there are several processes, whose batches would no longer agree in shape.

    >>> from dst_jax import data
    >>> batches = eval_batches(data.load("digits").test, batch_size=256)
    >>> [(len(batch.label), batch.sharded) for batch in batches]
    [(256, True), (256, True), (87, False)]
    """
    check_processes(batch_size, process_index, process_count)
    threads = choose_threads(threads)
    plan = _evaluation_plan(len(split), batch_size, process_index, process_count)
    read = partial(_evaluation_example, split, alone=process_count == 1)
    return _some(_read_in_order(plan, read, threads), split)


def _evaluation_example(split: Split, position: int, *, alone: bool) -> Example | None:
    """The example at `position`, or None where it is corrupt."""
    try:
        return split.example(position)
    except CorruptRecord as record:
        if alone:
            return None
        raise ValueError(
            f"corrupt record {record}. Several processes cannot evaluate {split.name}:"
            " with it left out, their batches would differ in shape"
        ) from record


def _evaluation_plan(
    n: int, batch_size: int, process_index: int, process_count: int
) -> Iterator[tuple[range, bool]]:
    """The positions in each batch of this process, and whether it is sharded.

    >>> list(_evaluation_plan(10, 4, 1, 2))
    [(range(2, 4), True), (range(6, 8), True), (range(8, 10), False)]
    """
    share = batch_size // process_count
    whole = n - n % batch_size
    for start in range(process_index * share, whole, batch_size):
        yield range(start, start + share), True
    if whole < n:
        yield range(whole, n), False


def _read_in_order(
    plan: Iterator[tuple[range, bool]],
    read: Callable[[int], Example | None],
    threads: int,
) -> Iterator[EvalBatch]:
    with ThreadPoolExecutor(threads) as pool:
        ahead = deque()
        for positions, sharded in plan:
            ahead.append((pool.map(read, positions), sharded))
            if len(ahead) > _AHEAD:
                yield from _stack(*ahead.popleft())
        while ahead:
            yield from _stack(*ahead.popleft())


def _some(batches: Iterator[EvalBatch], split: Split) -> Iterator[EvalBatch]:
    """The batches; an error at the end if all records were corrupt."""
    found = False
    for batch in batches:
        found = True
        yield batch
    if not found and len(split):
        raise ValueError(f"no record of {split.name} is readable")


def _stack(examples: Iterator[Example | None], sharded: bool) -> Iterator[EvalBatch]:
    """One batch of the readable examples, or nothing when there are none."""
    readable = [example for example in examples if example is not None]
    if readable:
        images, labels = zip(*readable, strict=True)
        yield EvalBatch(np.stack(images), np.array(labels, np.int32), sharded)
