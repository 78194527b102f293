"""Options that training and evaluation batches share, and their checks."""

import math
import os
from collections.abc import Sequence

from dst_jax import checks

__all__ = [
    "MOST_WORKERS",
    "check_processes",
    "check_range",
    "check_statistics",
    "choose_threads",
]

MOST_WORKERS = 1024
"""Threads, and processes, that may be asked for: hosts have fewer cores."""

_MOST_THREADS = 16
"""Default limit: more threads wait for the interpreter lock, each with a batch."""


def choose_threads(threads: int | None, *, workers: int = 0) -> int:
    """The number of threads: as given, or the number of cores that a worker has.

    >>> choose_threads(3)
    3
    """
    if threads is not None:
        check_range("threads", threads, 1)
        check_range("threads", threads, 1, MOST_WORKERS)
        return threads
    affinity = getattr(
        os, "sched_getaffinity", None
    )  # Linux: the cores this process may use
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(_MOST_THREADS, cores // max(1, workers)))


def check_processes(batch_size: int, process_index: int, process_count: int) -> None:
    """Raises ValueError unless the processes can share a batch equally.

    >>> check_processes(batch_size=10, process_index=0, process_count=4)
    Traceback (most recent call last):
    ValueError: batch_size must be a multiple of process_count=4, got 10
    """
    check_range("process_count", process_count, 1)
    check_range("process_index", process_index, 0, process_count - 1)
    check_range("batch_size", batch_size, 1)
    if batch_size % process_count:
        raise ValueError(
            f"batch_size must be a multiple of process_count={process_count}, "
            f"got {batch_size}"
        )


def check_range(name: str, value: int, lowest: int, highest: int | None = None) -> None:
    """Raises ValueError unless `lowest <= value <= highest`.

    >>> check_range("threads", 0, 1)
    Traceback (most recent call last):
    ValueError: threads must be at least 1, got 0
    """
    if value < lowest or (highest is not None and value > highest):
        allowed = f"at least {lowest}" if highest is None else f"{lowest} to {highest}"
        raise ValueError(f"{name} must be {allowed}, got {value}")


def check_statistics(
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    *,
    standardise: bool = True,
) -> None:
    """Raises ValueError unless mean and deviation are both given, or neither.

    Args:
      mean: mean of pixels / 255 by channel, or None.
      std: standard deviation by channel, or None.
      standardise: Whether they may be given.

    >>> check_statistics((0.5,), (0.0,))
    Traceback (most recent call last):
    ValueError: std must be > 0 and finite, got 0.0
    """
    if mean is None and std is None:
        return
    if mean is None or std is None or len(mean) != len(std) or not len(mean):
        raise ValueError(
            "mean and std must both be given, a number for each channel, got"
            f" {mean} and {std}"
        )
    if not standardise:
        raise ValueError(f"mean must not be given without standardise, got {mean}")
    for value in mean:
        if not math.isfinite(value):
            raise ValueError(f"mean must be finite, got {value}")
    for value in std:
        checks.positive("std", value)
