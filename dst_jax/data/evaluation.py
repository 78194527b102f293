"""Batches for evaluation: every example once, in order."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
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
      label: labels, int32[b]; int32[b, h, w] where each pixel has one.
      sharded: Whether the processes hold different parts of a global batch; otherwise
        all of them hold the same examples.
    """

    image: UInt8[np.ndarray, "b h w c"]
    label: Int32[np.ndarray, "b *map"]
    sharded: bool


def eval_batches(
    split: Split,
    *,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
    threads: int | None = None,
    anywhere: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Iterator[EvalBatch]:
    """This process's share of batches that hold every example of a split once.

    Each process gets its contiguous part of a whole global batch (`sharded`). The
    remainder, `len(split) % batch_size` examples, goes to all processes as a last,
    smaller batch. Corrupt records are left out, so a batch may have fewer rows; where
    one is found, every process gets what is left of the whole global batch.

    Args:
      split: split to evaluate on.
      batch_size: size of a global batch; a multiple of `process_count`.
      process_index: index of this process, in [0, process_count).
      process_count: number of processes that share each batch.
      threads: number of examples decoded at the same time; by default one per core, at
        most 16.
      anywhere: function of the flags of a batch's corrupt records in this process; the
        flags of all processes together. Every process calls it for every batch.

    Raises:
      ValueError: an argument is out of range. While iterating: more records are
        corrupt than the data set's `corrupt_limit`, or all of them; or one is corrupt
        and there are several processes, which without `anywhere` do not know it of each
        other.

    >>> from dst_jax import data
    >>> batches = eval_batches(data.load("digits").test, batch_size=256)
    >>> [(len(batch.label), batch.sharded) for batch in batches]
    [(256, True), (256, True), (87, False)]
    """
    check_processes(batch_size, process_index, process_count)
    threads = choose_threads(threads)
    plan = _evaluation_plan(len(split), batch_size, process_index, process_count)
    known = process_count == 1 or anywhere is not None
    read = partial(_evaluation_example, split, known=known)
    batches = _read_in_order(plan, read, threads, anywhere or (lambda flags: flags))
    return _some(batches, split)


def _evaluation_example(split: Split, position: int, *, known: bool) -> Example | None:
    """The example at `position`, or None where it is corrupt."""
    try:
        return split.example(position)
    except CorruptRecord as record:
        if known:
            return None
        raise ValueError(
            f"corrupt record {record}. Several processes cannot evaluate {split.name}:"
            " with it left out, their batches would differ in shape"
        ) from record


class _Share(NamedTuple):
    """The positions of a batch, those that this process reads, and `sharded`."""

    whole: range
    own: range
    sharded: bool


def _evaluation_plan(
    n: int, batch_size: int, process_index: int, process_count: int
) -> Iterator[_Share]:
    """This process's share of every batch.

    >>> [(share.own, share.sharded) for share in _evaluation_plan(10, 4, 1, 2)]
    [(range(2, 4), True), (range(6, 8), True), (range(8, 10), False)]
    """
    share = batch_size // process_count
    whole = n - n % batch_size
    for start in range(0, whole, batch_size):
        own = start + process_index * share
        yield _Share(range(start, start + batch_size), range(own, own + share), True)
    if whole < n:
        yield _Share(range(whole, n), range(whole, n), False)


def _read_in_order(
    plan: Iterator[_Share],
    read: Callable[[int], Example | None],
    threads: int,
    anywhere: Callable[[np.ndarray], np.ndarray],
) -> Iterator[EvalBatch]:
    with ThreadPoolExecutor(threads) as pool:
        read_all = partial(pool.map, read)
        ahead: deque[tuple[_Share, Iterator[Example | None]]] = deque()

        def next_batch() -> Iterator[EvalBatch]:
            share, examples = ahead.popleft()
            return _batch(share, examples, read_all, anywhere)

        for share in plan:
            ahead.append((share, read_all(share.own)))
            if len(ahead) > _AHEAD:
                yield from next_batch()
        while ahead:
            yield from next_batch()


def _some(batches: Iterator[EvalBatch], split: Split) -> Iterator[EvalBatch]:
    """The batches; an error at the end if all records were corrupt."""
    found = False
    for batch in batches:
        found = True
        yield batch
    if not found and len(split):
        raise ValueError(f"no record of {split.name} is readable")


def _batch(
    share: _Share,
    examples: Iterator[Example | None],
    read_all: Callable[[Sequence[int]], Iterator[Example | None]],
    anywhere: Callable[[np.ndarray], np.ndarray],
) -> Iterator[EvalBatch]:
    """One batch of the readable examples, or nothing when there are none."""
    found = dict(zip(share.own, examples, strict=True))
    missing = [found.get(position, share) is None for position in share.whole]
    corrupt = anywhere(np.array(missing))
    sharded = share.sharded
    if corrupt.any() and len(share.own) < len(share.whole):
        # Shares of different lengths make no global batch: all read the rest of it.
        left = [p for p, bad in zip(share.whole, corrupt, strict=True) if not bad]
        others = [position for position in left if position not in found]
        found |= dict(zip(others, read_all(others), strict=True))
        found, sharded = {position: found[position] for position in left}, False
    readable = [example for example in found.values() if example is not None]
    if readable:
        images, labels = zip(*readable, strict=True)
        yield EvalBatch(np.stack(images), np.array(labels, np.int32), sharded)
